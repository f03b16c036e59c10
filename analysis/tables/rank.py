"""Peaks over the learning rate for each rank: rows variants, columns values of it."""

from functools import partial

from analysis.tables import _over

blocks = partial(_over.blocks, "rank")
frame = partial(_over.frame, "rank")
