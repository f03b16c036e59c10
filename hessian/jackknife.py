"""How well the data pin down an eigenvalue: the jackknife over sequences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats import LEVEL

SUBSPACE = 4
"""Ritz vectors in whose span the eigenvector may move when a sequence is left out."""


@dataclass(frozen=True)
class Estimate:
    """A value from all sequences, and from all but one for each sequence that has target tokens."""

    value: float
    left_out: list[float]


@dataclass(frozen=True)
class Interval:
    """An estimate, its standard error and its interval at ``LEVEL``, with Student's t of n − 1 degrees of freedom."""

    value: float
    stderr: float
    low: float
    high: float


def largest(parts: Any, tokens: Sequence[int]) -> Estimate:
    """λmax of H = Σ H_i within the span of some vectors V, when every sequence might not have been there.

    Without sequence i it is that of Vᵀ(H − H_i)V·N/(N − tᵢ), N = Σ tᵢ. The true one is larger by what the eigenvector would
    gain outside the span; with V the top Ritz vectors that is of second order. The bias that comes from fitting an eigenvector
    to few data is not seen: the estimate is of λmax at this number of sequences.

    Args:
        parts: VᵀH_i·V, [sequences, p, p], float64.
        tokens: target tokens tᵢ of each sequence.
    """
    n = np.asarray(tokens, dtype=float)
    if (n > 0).sum() < 2:
        raise ValueError("a jackknife needs at least two sequences with target tokens")
    each = np.asarray(parts, dtype=float)[n > 0]
    total, weights = each.sum(0), n[n > 0].sum() / (n.sum() - n[n > 0])
    left = np.linalg.eigvalsh(total - each)[:, -1] * weights
    return Estimate(float(np.linalg.eigvalsh(total)[-1]), left.tolist())


def interval(estimate: Estimate) -> Interval:
    """SE² = (n − 1)/n · Σ(θᵢ − θ̄)² of the leave-one-out values (Efron & Tibshirani 1993, eq. 11.5)."""
    from scipy.stats import t

    left, n = np.asarray(estimate.left_out), len(estimate.left_out)
    stderr = math.sqrt((n - 1) / n * float(((left - left.mean()) ** 2).sum()))
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * stderr
    return Interval(estimate.value, stderr, estimate.value - reach, estimate.value + reach)


def log_ratio(one: Estimate, other: Estimate) -> Interval | None:
    """Log of the ratio of two eigenvalues over the same sequences; None unless all of both are positive."""
    if min(one.value, other.value, *one.left_out, *other.left_out) <= 0:
        return None
    left = np.log(np.asarray(one.left_out) / np.asarray(other.left_out))
    return interval(Estimate(math.log(one.value / other.value), left.tolist()))


def growth(parts: Any, tokens: Sequence[int]) -> list[dict[str, float]]:
    """``largest`` of the first 8, 16, 32, … sequences and of all, with its interval, within the span found on all of them.

    It shows how the data settle λ of the final eigenvectors; λmax of few sequences, whose own eigenvector fits their noise, is
    larger.
    """
    each, n = np.asarray(parts, dtype=float), list(tokens)
    found = []
    for count in [*(2**i for i in range(3, 32) if 2**i < len(n)), len(n)]:
        kept = [t for t in n[:count] if t > 0]
        if len(kept) < 2:
            continue
        one = interval(largest(each[:count] * (sum(n) / sum(kept)), n[:count]))
        found.append({"sequences": count, "value": one.value, "low": one.low, "high": one.high})
    return found
