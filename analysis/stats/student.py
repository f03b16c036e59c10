"""Student's t: of one variance, and where it is a sum of two, each estimated with degrees of freedom of its own."""

import math
from typing import Any, NamedTuple

from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import t

from analysis.stats import LEVEL

LEAST = 1e-100
"""Smaller probabilities are 0; `stdtrit` is exact down to here."""


class Estimate(NamedTuple):
    """A value with its interval at `LEVEL`; NaN where it cannot be told."""

    value: float
    low: float
    high: float


def interval(value: float, stderr: float, df: float, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval, value ± t(df) · stderr.

    Of the mean 0.6 of three seeds with a standard deviation of 0.02:

    >>> low, high = interval(0.6, 0.02 / math.sqrt(3), df=2)
    >>> f"{low:.3f} to {high:.3f}"
    '0.550 to 0.650'
    """
    reach = stderr * float(t.ppf((1 + level) / 2, df))
    return value - reach, value + reach


def critical(tail: float, share: Any, seeds: float, problems: float) -> Any:
    """The point that is exceeded with probability `tail`: the two t distributions' points, weighted by their variances.

    Cochran and Cox (1957, *Experimental Designs*, chapter 4). Satterthwaite's single t is too narrow for two or three seeds:
    where they happen to agree, it takes their variance for one that is well known (coverage of 95 % intervals with two seeds
    88 %, and 94 % or more so; `tests/analysis/stats/test_paired.py`).

    Args:
        tail: below 0.5.
        share: of the variance that is the seeds'; a number or an array.
        seeds: degrees of freedom of that.
        problems: degrees of freedom of the rest.
    """
    rest = -stdtrit(problems, tail)
    return rest - share * (stdtrit(seeds, tail) + rest)


def tail(point: float, share: float, seeds: float, problems: float) -> float:
    """The probability of exceeding `point`: the inverse of `critical`."""
    if share == 0:
        return float(t.sf(point, problems))
    if point <= 0:
        return 1.0 - tail(-point, share, seeds, problems) if point else 0.5
    if critical(LEAST, share, seeds, problems) <= point:
        return 0.0

    def beyond(log_tail: float) -> float:
        return float(critical(math.exp(log_tail), share, seeds, problems)) - point

    return math.exp(brentq(beyond, math.log(LEAST), math.log(0.5)))
