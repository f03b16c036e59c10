"""A median with the interval that the order of the values alone gives."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from analysis.stats import LEVEL


class Median(NamedTuple):
    """A median and where it lies.

    Attributes:
        value: NaN of no values, as are the ends.
        low: the lower end.
        high: the upper end.
        sure: whether the ends are an interval at `LEVEL`; else they are the range of the values.
    """

    value: float
    low: float
    high: float
    sure: bool


def median(values: Sequence[float]) -> Median:
    """The median of the values that are not NaN, with the interval of the order statistics (inverted sign test).

    It reaches from the j-th smallest to the j-th largest value with the largest j for which 1 − 2·P(X < j) ≥ `LEVEL`, X
    binomial(n, ½): no assumption on their distribution but that the values are independent (Conover 1999, section 3.2). Below
    n = 6 there is no such j, and the range takes its place.

    >>> median([9, 1, 2, 3, 4, 5, 6, 7, 8, 10])
    Median(value=5.5, low=2.0, high=9.0, sure=True)
    >>> median([3, 1, 2])
    Median(value=2.0, low=1.0, high=3.0, sure=False)
    """
    ordered = np.sort([value for value in values if not math.isnan(value)])
    n = len(ordered)
    if n == 0:
        return Median(math.nan, math.nan, math.nan, False)
    j = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))
    sure, j = j >= 1, max(j, 1)
    return Median(float(np.median(ordered)), float(ordered[j - 1]), float(ordered[n - j]), sure)
