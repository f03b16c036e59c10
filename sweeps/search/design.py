"""The first points, before a model has anything to learn from."""

from collections.abc import Sequence

import numpy as np

from sweeps.search.base import Observation, untried
from sweeps.space import Space

DESIGNS = ("sobol", "random")


def first(space: Space, design: str, seed: int, count: int) -> list[int]:
    """``count`` different candidates.

    sobol: a scrambled Sobol sequence over the axes' positions (Owen 1998), so that every axis is covered evenly; random: all
    candidates alike. The sequence of a smaller count is the beginning of that of a larger one.
    """
    if design == "random":
        return np.random.default_rng([seed, 0]).permutation(len(space))[:count].tolist()
    from scipy.stats import qmc

    sizes = np.array([len(axis.texts) for axis in space.axes])
    engine = qmc.Sobol(len(sizes), scramble=True, rng=np.random.default_rng([seed, 1]))
    found: dict[int, None] = {}
    while len(found) < min(count, len(space)):
        if engine.num_generated > 64 * len(space):  # tiny spaces: what the sequence has not met by now, in random order
            rest = np.flatnonzero(untried(space, [Observation(i, None) for i in found]))
            return [*found, *np.random.default_rng([seed, 2]).permutation(rest).tolist()][:count]
        positions = (engine.random(8) * sizes).astype(int)
        found.update(dict.fromkeys(space.candidate(row) for row in positions.tolist()))
    return list(found)[:count]


def next_first(points: Sequence[int], history: Sequence[Observation]) -> int | None:
    """The first of the points that is not in the history."""
    tried = {one.candidate for one in history}
    return next((point for point in points if point not in tried), None)
