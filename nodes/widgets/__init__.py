"""Widgets that several nodes share, and the engine's settings made of their values."""
