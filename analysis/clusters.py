"""The mean of numbers that come in clusters, such as curves of several variants trained on the same data."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from analysis.correlation import LEVEL, RESAMPLES, SEED, Estimate

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

LEAST = 3
"""Fewer numbers have no interval, and of fewer clusters none can be told for others like them."""


class Member(NamedTuple):
    """A number and the cluster that it belongs to."""

    cluster: Hashable
    value: float


def mean(members: Sequence[Member]) -> Estimate:
    """The mean m of n numbers in G clusters, with its interval; NaN of none.

    From `LEAST` clusters on the interval is for other clusters: m ± t(G − 1) · √V with the cluster-robust variance
    V = G / (G − 1) · Σ_g (Σ_{i in g} (vᵢ − m))² / n² (Liang & Zeger 1986; Cameron & Miller 2015, sections II.B and VI.D). Of
    fewer it is the bootstrap's over the numbers, which holds for these clusters alone.
    """
    import numpy as np
    from scipy.stats import t

    values = [one.value for one in members]
    n, names = len(values), {one.cluster for one in members}
    if not values:
        return Estimate(math.nan, math.nan, math.nan)
    middle = fmean(values)
    if len(names) >= LEAST:
        sums = [sum(one.value - middle for one in members if one.cluster == name) for name in names]
        variance = len(names) / (len(names) - 1) * sum(each**2 for each in sums) / n**2
        reach = float(t.ppf((1 + LEVEL) / 2, len(names) - 1)) * math.sqrt(variance)
        return Estimate(middle, middle - reach, middle + reach)
    if n < LEAST:
        return Estimate(middle, math.nan, math.nan)
    drawn = np.random.default_rng(SEED).choice(np.asarray(values), (RESAMPLES, n)).mean(axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(middle, float(low), float(high))
