"""The first points, before a model has anything to learn from."""

from collections.abc import Sequence

import numpy as np

from sweeps.search.base import Observation, untried
from sweeps.space import Space

DESIGNS = ("sobol", "random")


def first(space: Space, design: str, seed: int, count: int) -> list[int]:
    """``count`` different candidates, or all of a smaller space. Those of a smaller count begin those of a larger one.

    sobol: a scrambled Sobol sequence u ∈ [0, 1)^d over the axes' positions, ⌊u·n⌋ on an axis of n values (Owen 1998), so that
    every axis is covered evenly; a candidate that comes again is left out. random: all candidates alike.

    >>> space = Space({"rank": ["4", "8"], "lr": ["1e-4", "1e-3"]})
    >>> sorted(first(space, "sobol", seed=0, count=9))
    [0, 1, 2, 3]
    >>> first(space, "sobol", seed=0, count=2) == first(space, "sobol", seed=0, count=4)[:2]
    True
    """
    if design == "random":
        return np.random.default_rng([seed, 0]).permutation(len(space))[:count].tolist()
    from scipy.stats import qmc  # here: Hydra's shim imports this module at the start of every command, and this costs a second

    sizes = np.array([len(axis.texts) for axis in space.axes])
    engine = qmc.Sobol(len(sizes), scramble=True, rng=np.random.default_rng([seed, 1]))
    points: dict[int, None] = {}
    while len(points) < min(count, len(space)):
        if engine.num_generated > 64 * len(space):  # tiny spaces: what the sequence has not met by now, in random order
            rest = np.flatnonzero(untried(space, [Observation(point, None) for point in points]))
            return [*points, *np.random.default_rng([seed, 2]).permutation(rest).tolist()][:count]
        positions = (engine.random(8) * sizes).astype(int)
        points.update(dict.fromkeys(space.candidate(row) for row in positions.tolist()))
    return list(points)[:count]


def next_first(points: Sequence[int], history: Sequence[Observation]) -> int | None:
    """The first of the points that is not in the history, or None.

    >>> next_first([3, 0, 2], [Observation(3, 0.5)]), next_first([3], [Observation(3, None)])
    (0, None)
    """
    tried = {observation.candidate for observation in history}
    return next((point for point in points if point not in tried), None)
