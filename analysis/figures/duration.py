"""Peaks, and the learning rates of them, over duration (samples and epochs): one panel a setting, one line a variant."""

from functools import partial

from analysis.figures import _over

draw = partial(_over.draw, "duration")
