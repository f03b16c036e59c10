"""Mesh adaptive direct search (Audet & Dennis 2006) of NOMAD 4, over the positions of each axis."""

from collections.abc import Sequence

from sweeps.search.base import Observation, Search, filled, untried
from sweeps.space import Space


class Nomad(Search):
    """NOMAD from the best of the first points.

    NOMAD calls its objective; here it is asked for the next point by running it again over what is known: it is deterministic
    given its seed, so it repeats its questions until one has no answer yet. An axis that is no number counts by its positions,
    which is as good as NOMAD can do with it. When it ends before the budget, it begins again with another seed, from the best.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self._orders = [
            sorted(range(len(axis.texts)), key=axis.numbers.__getitem__) if axis.numbers else list(range(len(axis.texts)))
            for axis in space.axes
        ]

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        free = untried(self.space, history)
        if history:
            scores = dict(zip((one.candidate for one in history), filled(history), strict=True))
            for restart in range(4):
                found = self._next(scores, restart)
                if found is not None:
                    return found
        return int(self.generator(history).choice(free.nonzero()[0]))

    def _next(self, scores: dict[int, float], restart: int) -> int | None:
        import PyNomad

        asked: list[int] = []

        def objective(point: "PyNomad.PyNomadEvalPoint") -> int:
            places = [round(point.get_coord(i)) for i in range(point.size())]
            candidate = self.space.candidate([order[i] for order, i in zip(self._orders, places, strict=True)])
            if candidate not in scores and not asked:
                asked.append(candidate)
            # After the first unanswered question what follows is thrown away; any answer will do.
            point.setBBO(str(-scores.get(candidate, min(scores.values()))).encode())
            return 1

        start = max(scores, key=scores.__getitem__)
        places = [order.index(i) for order, i in zip(self._orders, self.space.indices(start), strict=True)]
        low, high = [0] * len(places), [len(order) - 1 for order in self._orders]
        options = [
            f"DIMENSION {len(places)}",
            "BB_INPUT_TYPE (" + " I" * len(places) + " )",
            "BB_OUTPUT_TYPE OBJ",
            f"MAX_BB_EVAL {len(scores) + 2}",
            "DISPLAY_DEGREE 0",
            "DISPLAY_ALL_EVAL false",
            f"SEED {(self.seed * 4 + restart) % 2**31}",
        ]
        PyNomad.optimize(objective, places, low, high, options)
        return asked[0] if asked else None
