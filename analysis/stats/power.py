"""How many seeds or test problems a study needs to tell two variants apart."""

import math
from collections.abc import Callable

from scipy.stats import nct

from analysis.stats import ALPHA
from analysis.stats.paired import Components
from analysis.stats.student import critical

POWER = 0.8


def seeds_needed(delta: float, components: Components, problems: int, most: int = 1000) -> float:
    """Seeds of each variant with which the paired t-test on so many problems finds a difference `delta` with `POWER`.

    Returns:
        NaN where the components are unknown, infinity where `most` do not suffice: the problems are too few.

    >>> variances = Components(seed=1e-5, problem=0.002, rest=0.1)
    >>> seeds_needed(0.01, variances, problems=1319), seeds_needed(0.01, variances, problems=200)
    (19, inf)
    """
    if any(map(math.isnan, components)):
        return math.nan

    def enough(seeds: int) -> bool:
        return _paired_power(delta, components, seeds, problems) >= POWER

    return _first(enough, 1, most) if enough(most) else math.inf


def seeds_needed_unpaired(delta: float, std_a: float, std_b: float, most: int = 1000) -> float:
    """Seeds of each variant with which Welch's t-test finds a difference `delta` of their means with `POWER`.

    Args:
        delta: the difference.
        std_a: standard deviation over seeds of the first variant.
        std_b: of the second.
        most: beyond it the answer is infinity; NaN where a deviation is unknown.

    >>> seeds_needed_unpaired(0.01, 0.005, 0.005)
    6
    """
    total = std_a**2 + std_b**2
    if not total > 0:  # unknown, or values that happen to be equal
        return math.nan
    # Welch–Satterthwaite for equal numbers: df = (S − 1)·(σ₁² + σ₂²)²/(σ₁⁴ + σ₂⁴).
    share = total**2 / (std_a**4 + std_b**4)

    def enough(seeds: int) -> bool:
        df = (seeds - 1) * share
        return _power(delta, total / seeds, df, float(critical(ALPHA / 2, 0.0, 1, df))) >= POWER

    return _first(enough, 1, most) if enough(most) else math.inf


def problems_needed(delta: float, components: Components, seeds: int) -> float:
    """Test problems with which `seeds` seeds find a difference `delta` with `POWER`; infinity where the seeds are too few."""

    def enough(problems: int) -> bool:
        return _paired_power(delta, components, seeds, problems) >= POWER

    high = 2
    while not enough(high):
        high *= 2
        if high > 10**9:
            return math.inf
    return _first(enough, high // 2, high)


def _paired_power(delta: float, components: Components, seeds: int, problems: int) -> float:
    """Power of `Difference.p` with S seeds and N problems.

    The variance is σ²_seed/S + σ²_problem/N + σ²_rest/(S·N), and σ²_problem at least what scores of 0 or 1 must have.
    """
    problem = max(components.problem, delta * (1 - delta)) / problems
    if seeds == 1:
        return _power(delta, problem, problems - 1, float(critical(ALPHA / 2, 0.0, 1, problems - 1)))
    rest = components.rest / (seeds * problems)
    seed = components.seed / seeds + rest
    variance = seed + problem
    # Satterthwaite's, of V_s + V_i − V_si.
    terms = seed**2 / (seeds - 1) + (problem + rest) ** 2 / (problems - 1) + rest**2 / ((seeds - 1) * (problems - 1))
    limit = float(critical(ALPHA / 2, seed / variance, seeds - 1, problems - 1))
    return _power(delta, variance, max(variance**2 / terms, seeds - 1), limit)


def _first(enough: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low` that is enough, where `high` is: more never has less power."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(delta: float, variance: float, df: float, limit: float) -> float:
    """Of a two-sided test that rejects beyond `limit` standard errors."""
    shift = delta / math.sqrt(variance)
    power = float(nct.sf(limit, df, shift) + nct.cdf(-limit, df, shift))
    return power if not math.isnan(power) else 1.0
