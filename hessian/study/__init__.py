"""``python -m hessian``: which blocks are asked for, in which order they are measured, and the record of each."""
