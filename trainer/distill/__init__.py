"""Distilling a mask decoder from a model's VAE."""
