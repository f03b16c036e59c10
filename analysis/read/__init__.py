"""Everything that is read: records of cells and of Hessian blocks, journals of searches, completions, published cells."""

REFERENCE = "lora"
"""The variant that all others are compared with."""
