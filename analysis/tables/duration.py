"""Peaks over the learning rate for each duration (samples and epochs): rows variants, columns values of it."""

from functools import partial

from analysis.tables import _over

blocks = partial(_over.blocks, "duration")
frame = partial(_over.frame, "duration")
