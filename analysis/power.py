"""How many seeds or test problems a study needs to tell two variants apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis.equivalence import ALPHA
from analysis.paired import degrees

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.paired import Components

POWER = 0.8


def seeds_needed(delta: float, components: Components, problems: int, most: int = 1000) -> float:
    """Seeds of each variant with which the paired t-test on so many problems finds a difference `delta` with `POWER`.

    Returns:
        NaN where the components are unknown, infinity where `most` do not suffice: the problems are too few.
    """
    if any(map(math.isnan, components)):
        return math.nan

    def enough(seeds: int) -> bool:
        return _power(delta, *_expected(components, seeds, problems)) >= POWER

    return _first(enough, 1, most) if enough(most) else math.inf


def seeds_needed_unpaired(delta: float, one: float, other: float, most: int = 1000) -> float:
    """Seeds of each variant with which Welch's t-test finds a difference `delta` of their means with `POWER`.

    Args:
        delta: the difference.
        one: standard deviation over seeds of the first variant.
        other: of the second.
        most: beyond it the answer is infinity; NaN where a deviation is unknown.
    """
    if math.isnan(one) or math.isnan(other):
        return math.nan
    total = one**2 + other**2
    # Welch–Satterthwaite for equal numbers: df = (S − 1)·(σ₁² + σ₂²)²/(σ₁⁴ + σ₂⁴).
    share = total**2 / (one**4 + other**4) if total else 2.0

    def enough(seeds: int) -> bool:
        return _power(delta, total / seeds, (seeds - 1) * share) >= POWER

    return _first(enough, 1, most) if enough(most) else math.inf


def problems_needed(delta: float, components: Components, seeds: int) -> float:
    """Test problems with which `seeds` seeds find a difference `delta` with `POWER`; infinity where the seeds are too few."""

    def enough(problems: int) -> bool:
        return _power(delta, *_expected(components, seeds, problems)) >= POWER

    high = 2
    while not enough(high):
        high *= 2
        if high > 10**9:
            return math.inf
    return _first(enough, high // 2, high)


def _expected(components: Components, seeds: int, problems: int) -> tuple[float, float]:
    """Variance of the mean of S seeds and N problems, σ²_seed/S + σ²_problem/N + σ²_rest/(S·N), and its degrees of freedom."""
    if seeds == 1:
        return components.problem / problems, problems - 1
    rest = components.rest / (seeds * problems)
    seed, problem = components.seed / seeds + rest, components.problem / problems + rest
    return seed + problem - rest, degrees(seed, problem, rest, seeds, problems - 1)


def _first(enough: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low` that is enough, where `high` is: more never has less power."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(delta: float, variance: float, df: float) -> float:
    """Of a two-sided t-test at `ALPHA`."""
    from scipy.stats import nct, t

    if variance <= 0:
        return 1.0
    shift = abs(delta) / math.sqrt(variance)
    limit = float(t.ppf(1 - ALPHA / 2, df))
    power = float(nct.sf(limit, df, shift) + nct.cdf(-limit, df, shift))
    return power if not math.isnan(power) else 1.0
