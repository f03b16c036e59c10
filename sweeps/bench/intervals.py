"""What regrets over seeds say: bootstrap intervals and a paired test."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

Statistic = Callable[..., Any]
"""Of an array along ``axis``."""

LEVEL = 0.95
"""Confidence of all intervals."""

DRAWS = 10_000
"""Of a bootstrap."""


def interval(values: Sequence[float], of: Statistic = np.median, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval (percentiles, `LEVEL`) of the median, or another statistic, over seeds.

    >>> interval([1.0, 2.0, 3.0, 4.0, 5.0])
    (1.0, 5.0)
    """
    draws = np.random.default_rng(seed).choice(np.asarray(values, dtype=float), (DRAWS, len(values)))
    return _ends(of(draws, axis=1))


def difference(
    minuend: Sequence[float], subtrahend: Sequence[float], of: Statistic = np.median, seed: int = 0
) -> tuple[float, float, float]:
    """Median (or another statistic) of one minus that of the other, with the bootstrap's interval over shared seeds.

    >>> difference([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    (-1.0, -1.0, -1.0)
    """
    pairs = np.array([minuend, subtrahend], dtype=float)
    draws = np.random.default_rng(seed).integers(len(minuend), size=(DRAWS, len(minuend)))
    statistics = of(pairs[:, draws], axis=2)
    return float(np.subtract(*of(pairs, axis=1))), *_ends(statistics[0] - statistics[1])


def below(lower: Sequence[float], upper: Sequence[float]) -> float:
    """One-sided p-value that regrets ``lower`` are not below ``upper`` of the same seeds (Wilcoxon's signed ranks).

    >>> below([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0])  # one of the 16 signs of four differences
    0.0625
    """
    differences = np.asarray(lower) - np.asarray(upper)
    return 1.0 if not differences.any() else float(wilcoxon(differences, alternative="less", zero_method="zsplit").pvalue)


def _ends(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
