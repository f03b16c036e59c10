"""Optimizers of methods that step in their own way."""
