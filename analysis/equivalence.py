"""Claims about a difference: that there is one, or that it is too small to matter, each with its own test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.paired import Components

MARGIN = 0.01
"""Differences below one point do not matter: paper 1 (arXiv 2602.04998) calls peaks within 1 to 2 % equal."""

ALPHA = 0.05
POWER = 0.8


class Verdict(NamedTuple):
    """What is known of a difference.

    Attributes:
        p_different: two-sided, that there is none.
        p_equivalent: of the two one-sided tests, that it is at least the margin.
        word: "equivalent", "different", "both" (there is a difference, and it is below the margin) or "open".
    """

    p_different: float
    p_equivalent: float
    word: str


def verdict(value: float, stderr: float, df: float, margin: float = MARGIN, p_different: float | None = None) -> Verdict:
    """Two one-sided t-tests (TOST; Schuirmann 1987) of |difference| < margin, beside the test of no difference.

    Equal within a margin is a claim of its own: a test that does not find a difference may only be too small.

    Args:
        value: the difference.
        stderr: of it.
        df: degrees of freedom of `stderr`.
        margin: below which a difference does not matter; positive.
        p_different: in place of the t-test's, such as one corrected for many tests.

    Raises:
        ValueError: if the margin is not positive.
    """
    from scipy.stats import t

    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be positive, not {margin:g}")
    if any(map(math.isnan, (value, stderr, df))):
        return Verdict(math.nan, math.nan, "open")
    if stderr == 0:
        p = 1.0 if value == 0 else 0.0
        p_equivalent = 0.0 if abs(value) < margin else 1.0
    else:
        p = 2 * float(t.sf(abs(value) / stderr, df))
        p_equivalent = float(max(t.sf((value + margin) / stderr, df), t.sf((margin - value) / stderr, df)))
    p = p if p_different is None else p_different
    different, equivalent = p < ALPHA, p_equivalent < ALPHA
    return Verdict(
        p, p_equivalent, {(1, 0): "different", (0, 1): "equivalent", (1, 1): "both"}.get((different, equivalent), "open")
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for that many tests (Holm 1979); NaN stays NaN and counts for none."""
    known = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    result, largest = list(p), 0.0
    for place, (value, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * value))
        result[index] = largest
    return result


def seeds_needed(delta: float, components: Components, problems: int, most: int = 1000) -> float:
    """Seeds of each variant with which a paired t-test on so many problems finds a difference `delta` with `POWER`.

    The standard error of S seeds is √(σ²_seed/S + σ²_problem/problems + σ²_rest/(S·problems)).

    Returns:
        NaN where the components are unknown, infinity where `most` do not suffice: the problems are too few.
    """
    if any(map(math.isnan, components)):
        return math.nan

    def enough(seeds: int) -> bool:
        variance = components.seed / seeds + components.problem / problems + components.rest / (seeds * problems)
        # Where seeds dominate the degrees of freedom are theirs; where problems do, this asks for a few too many.
        return _power(delta, variance, seeds - 1) >= POWER

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
    seed = 0.0 if math.isnan(components.seed) else components.seed
    rest = 0.0 if math.isnan(components.rest) else components.rest
    df = seeds - 1 if seeds > 1 and seed else math.inf

    def enough(problems: int) -> bool:
        return _power(delta, seed / seeds + (components.problem + rest / seeds) / problems, df) >= POWER

    high = 2
    while not enough(high):
        high *= 2
        if high > 10**9:
            return math.inf
    return _first(enough, high // 2, high)


def _first(enough: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low` that is enough, where `high` is: more never has less power."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(delta: float, variance: float, df: float) -> float:
    """Of a two-sided t-test at `ALPHA`."""
    from scipy.stats import nct, norm, t

    if variance <= 0:
        return 1.0
    shift = abs(delta) / math.sqrt(variance)
    if math.isinf(df):
        limit = float(norm.ppf(1 - ALPHA / 2))
        return float(norm.sf(limit - shift) + norm.cdf(-limit - shift))
    limit = float(t.ppf(1 - ALPHA / 2, df))
    power = float(nct.sf(limit, df, shift) + nct.cdf(-limit, df, shift))
    return power if not math.isnan(power) else 1.0
