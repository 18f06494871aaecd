"""Synthetic captioned shots with exact mattes."""
