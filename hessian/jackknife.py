"""How well the data pin down an eigenvalue: the jackknife over sequences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

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

    Where the sequence that makes λmax is left out, the next vector takes over:

    >>> largest([[[4, 0], [0, 1]], [[0, 0], [0, 1]]], tokens=[10, 10])
    Estimate(value=4.0, left_out=[2.0, 8.0])

    Args:
        parts: VᵀH_i·V, [sequences, p, p], float64.
        tokens: target tokens tᵢ of each sequence.
    """
    n = np.asarray(tokens, dtype=float)
    if (n > 0).sum() < 2:
        raise ValueError("a jackknife needs at least two sequences with target tokens")
    counted = np.asarray(parts, dtype=float)[n > 0]
    total, weights = counted.sum(0), n[n > 0].sum() / (n.sum() - n[n > 0])
    left = np.linalg.eigvalsh(total - counted)[:, -1] * weights
    return Estimate(float(np.linalg.eigvalsh(total)[-1]), left.tolist())


def interval(estimate: Estimate) -> Interval:
    """SE² = (n − 1)/n · Σ(θᵢ − θ̄)² of the leave-one-out values (Efron & Tibshirani 1993, eq. 11.5).

    Of a mean it is the mean's own standard error, here of 1, 2, 3 and 6:

    >>> spread = interval(Estimate(3.0, left_out=[11 / 3, 10 / 3, 3.0, 2.0]))
    >>> round(spread.stderr, 6), round(spread.low, 2), round(spread.high, 2)
    (1.080123, -0.44, 6.44)
    """
    left, n = np.asarray(estimate.left_out), len(estimate.left_out)
    stderr = math.sqrt((n - 1) / n * float(((left - left.mean()) ** 2).sum()))
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * stderr
    return Interval(estimate.value, stderr, estimate.value - reach, estimate.value + reach)


def log_ratio(numerator: Estimate, denominator: Estimate) -> Interval | None:
    """Log of the ratio of two eigenvalues over the same sequences; None unless all of both are positive.

    What the sequences do to both of them cancels:

    >>> lora, pissa = Estimate(2.0, [1.0, 3.0, 2.0]), Estimate(6.0, [3.0, 9.0, 6.0])
    >>> ratio = log_ratio(pissa, lora)
    >>> round(math.exp(ratio.value), 6), round(ratio.stderr, 6)
    (3.0, 0.0)
    """
    if min(numerator.value, denominator.value, *numerator.left_out, *denominator.left_out) <= 0:
        return None
    left = np.log(np.asarray(numerator.left_out) / np.asarray(denominator.left_out))
    return interval(Estimate(math.log(numerator.value / denominator.value), left.tolist()))


def growth(parts: Any, tokens: Sequence[int]) -> list[dict[str, float]]:
    """``largest`` of the first 8, 16, 32, … sequences and of all, with its interval, within the span found on all of them.

    It shows how the data settle λ of the final eigenvectors; λmax of few sequences, whose own eigenvector fits their noise, is
    larger.

    >>> rows = growth([[[0.25 / 20]], [[0.75 / 20]]] * 10, tokens=[5] * 20)
    >>> [(row["sequences"], round(row["value"], 6), round(row["low"], 2), round(row["high"], 2)) for row in rows]
    [(8, 0.5, 0.28, 0.72), (16, 0.5, 0.36, 0.64), (20, 0.5, 0.38, 0.62)]

    Args:
        parts: VᵀH_i·V, [sequences, p, p], float64.
        tokens: target tokens tᵢ of each sequence.
    """
    parts, counts = np.asarray(parts, dtype=float), list(tokens)
    rows = []
    for sequences in [*(2**i for i in range(3, 32) if 2**i < len(counts)), len(counts)]:
        kept = [count for count in counts[:sequences] if count > 0]
        if len(kept) < 2:
            continue
        head = largest(parts[:sequences] * (sum(counts) / sum(kept)), counts[:sequences])
        spread = interval(head)
        rows.append({"sequences": sequences, "value": spread.value, "low": spread.low, "high": spread.high})
    return rows
