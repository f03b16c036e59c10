"""Rank correlation of a few points, with an exact p-value and a bootstrap interval, and the slope of a line through them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import linregress, rankdata

from analysis.stats import LEVEL
from analysis.stats.student import Estimate, interval

EXACT = 8
"""Up to so many points all orders are counted (8! = 40,320); beyond, `RANDOM` random ones."""

LEAST = 5
"""Of fewer points resamples say nothing, and there is no interval."""

RANDOM = 100_000
RESAMPLES = 10_000
SEED = 0


class RankCorrelation(NamedTuple):
    """Spearman's ρ, the two-sided p-value under random orders, and of how many orders that is."""

    rho: Estimate
    p: float
    orders: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rank correlation of n points; ties share their mean rank.

    p is the share of all n! orders of y with |ρ| at least the one found, exact with ties too; for n > `EXACT` that of `RANDOM`
    random orders and the one found, (b + 1)/(m + 1) (Phipson & Smyth 2010). The interval is the bootstrap's percentiles over
    points, from `LEAST` on; resamples in which all x or all y are equal have no ρ and do not count. Of few points it is rough.

    >>> correlation = rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 1, 2])
    >>> f"{correlation.rho.value:.2f}, p = {correlation.p:.3f} of {correlation.orders} orders"
    '-0.90, p = 0.083 of 120 orders'
    """
    n, nothing = len(x), Estimate(math.nan, math.nan, math.nan)
    if n < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return RankCorrelation(nothing, math.nan, 0)
    a, b = _unit(rankdata(x)), _unit(rankdata(y))
    rho = float(np.clip(a @ b, -1, 1))
    generator = np.random.default_rng(SEED)
    if n <= EXACT:
        permuted = b[_orders(n)] @ a
        p = float(np.mean(np.abs(permuted) >= abs(rho) - 1e-9))
    else:
        permuted = generator.permuted(np.tile(b, (RANDOM, 1)), axis=1) @ a
        p = float((1 + np.sum(np.abs(permuted) >= abs(rho) - 1e-9)) / (1 + RANDOM))
    if n < LEAST:
        return RankCorrelation(Estimate(rho, math.nan, math.nan), p, len(permuted))
    drawn = generator.integers(n, size=(RESAMPLES, n))
    left, right = (_unit(rankdata(np.asarray(values)[drawn], axis=1)) for values in (x, y))
    resampled = np.clip((left * right).sum(1), -1, 1)
    low, high = np.nanpercentile(resampled, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return RankCorrelation(Estimate(rho, float(low), float(high)), p, len(permuted))


def _orders(n: int) -> np.ndarray:
    """All orders of 0 … n − 1, [n!, n]."""
    from itertools import permutations

    return np.array(list(permutations(range(n))))


def _unit(ranks: np.ndarray) -> np.ndarray:
    """Centred and of length one along the last axis; NaN where all are equal."""
    centred = ranks - ranks.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit: np.ndarray = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    return unit


def pearson(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Correlation of n points, with the percentiles of the bootstrap over points; NaN where all x or all y are equal.

    >>> round(pearson([1, 2, 3, 4], [1, 3, 2, 4]).value, 3), pearson([1, 2], [3, 3]).value
    (0.8, nan)
    """
    points = np.array([x, y], dtype=float)
    drawn = np.random.default_rng(SEED).integers(len(x), size=(RESAMPLES, len(x)))
    with np.errstate(invalid="ignore"):
        value, resampled = _correlation(points), _correlation(points[:, drawn])
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    low, high = np.nanpercentile(resampled, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Estimate(float(value), float(low), float(high))


def _correlation(points: Any) -> Any:
    centred = points - points.mean(-1, keepdims=True)
    # A resample of equal values has no correlation, and rounding must not give it one.
    flat = np.ptp(points, axis=-1).min(0) == 0
    x, y = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.where(flat, np.nan, np.clip((x * y).sum(-1), -1, 1))


def slope(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Least-squares slope of y over x, with Student's t interval of n − 2 degrees of freedom.

    >>> [round(float(number), 2) for number in slope([0, 1, 2, 3], [0, -1.1, -1.9, -3])]
    [-0.98, -1.16, -0.8]
    """
    if len(x) < 3 or len(set(x)) == 1:
        return Estimate(math.nan, math.nan, math.nan)
    line = linregress(x, y)
    return Estimate(float(line.slope), *interval(float(line.slope), float(line.stderr), len(x) - 2))
