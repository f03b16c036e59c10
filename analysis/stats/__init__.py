"""Statistics: means, peaks and intervals, pure functions of numbers, and of the frames that `analysis.read` makes."""

LEVEL = 0.95
"""Of every interval."""

ALPHA = 0.05
"""Of every test."""

MARGIN = 0.01
"""Differences below one point do not matter: paper 1 (arXiv 2602.04998) calls peaks within 1 to 2 % equal."""

ZERO = 1e-9
"""A standard error of fractions below this is rounding."""
