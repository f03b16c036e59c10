"""Base models: where their weights are, what identifies them, their shapes, and loading them."""
