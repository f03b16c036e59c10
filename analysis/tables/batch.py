"""Peaks over the learning rate for each batch size: rows variants, columns values of it."""

from functools import partial

from analysis.tables import _over

blocks = partial(_over.blocks, "batch_size")
frame = partial(_over.frame, "batch_size")
