"""Claims about a difference: that there is one, or that it is too small to matter, each with its own test."""

import math
from collections.abc import Sequence

from scipy.stats import t

from analysis.stats import ALPHA, MARGIN


def tost(value: float, stderr: float, df: float, margin: float = MARGIN) -> float:
    """Two one-sided t-tests (TOST; Schuirmann 1987) of |difference| < margin: the larger p-value.

    Equal within a margin is a claim of its own: a test that does not find a difference may only be too small.

    Args:
        value: the difference.
        stderr: of it; from 0, which no sample can know, follows nothing, so that the p-value is NaN.
        df: degrees of freedom of `stderr`.
        margin: below which a difference does not matter; positive.

    Raises:
        ValueError: if the margin is not positive.

    The same small difference, measured well and badly:

    >>> [round(tost(0.001, stderr, df=40), 3) for stderr in (0.003, 0.006)]
    [0.002, 0.071]
    """
    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be positive, not {margin:g}")
    if any(map(math.isnan, (value, stderr, df))) or stderr == 0:
        return math.nan
    return float(max(t.sf((value + margin) / stderr, df), t.sf((margin - value) / stderr, df)))


def word(p_different: float, p_equivalent: float) -> str:
    """What is known: "equivalent", "different", "both" (there is a difference, and it is below the margin) or "open".

    >>> word(p_different=0.6, p_equivalent=0.002), word(p_different=0.6, p_equivalent=0.071)
    ('equivalent', 'open')
    """
    different, equivalent = p_different < ALPHA, p_equivalent < ALPHA
    return {(1, 0): "different", (0, 1): "equivalent", (1, 1): "both"}.get((different, equivalent), "open")


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for that many tests (Holm 1979); NaN stays NaN and counts for none.

    >>> [round(p, 9) for p in holm([0.01, 0.04, 0.03, math.nan])]
    [0.03, 0.06, 0.06, nan]
    """
    ranked = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    result, largest = list(p), 0.0
    for place, (value, index) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - place) * value))
        result[index] = largest
    return result
