"""How far several searches had come after each evaluation."""

from collections.abc import Sequence

import numpy as np

BAND = (0.25, 0.75)
"""Quantiles over the searches of one method."""


def progress(searches: Sequence[Sequence[float]]) -> list[tuple[int, float, float, float]]:
    """The best so far over several searches: evaluation, median, and its quantiles `BAND`.

    From the evaluation on at which all searches have a score; one that has ended counts on with its best.

    >>> progress([[0.1, 0.5, 0.5], [0.3, 0.3]])
    [(1, 0.2, 0.15, 0.25), (2, 0.4, 0.35, 0.45), (3, 0.4, 0.35, 0.45)]
    """
    most = max(map(len, searches))
    table = np.array([[*best, *[best[-1]] * (most - len(best))] for best in searches])
    scored = np.flatnonzero(~np.isnan(table).any(axis=0))
    low, middle, high = np.quantile(table[:, scored], (BAND[0], 0.5, BAND[1]), axis=0).tolist()
    return list(zip((scored + 1).tolist(), middle, low, high, strict=True))
