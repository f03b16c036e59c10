"""Mesh adaptive direct search (Audet & Dennis 2006) of NOMAD 4, over the positions of each axis."""

import json
import subprocess
import sys
from collections.abc import Sequence

from sweeps.search.base import Observation, Search, filled, untried
from sweeps.space import Space

ANSWER = "next: "

RESTARTS = 4
"""Seeds that are tried when NOMAD ends before it asks something new; after them, a random candidate."""


class Nomad(Search):
    """NOMAD from the best of the first points.

    NOMAD calls its objective; here it is asked for the next point by running it again over what is known: it is deterministic
    given its seed, so it repeats its questions until one has no answer yet. An axis that is no number counts by its positions,
    which is as good as NOMAD can do with it. When it ends before the budget, it begins again with another seed, from the best.
    """

    needs = ("PyNomad",)

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self._orders = [axis.order for axis in space.axes]

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        free = untried(self.space, history)
        if history:
            scores = dict(zip((one.candidate for one in history), filled(history), strict=True))
            for restart in range(RESTARTS):
                found = self._next(scores, restart)
                if found is not None:
                    return found
        return int(self.generator(history).choice(free.nonzero()[0]))

    def _next(self, scores: dict[int, float], restart: int) -> int | None:
        start = max(scores, key=scores.__getitem__)
        question = {
            "sizes": [len(order) for order in self._orders],
            "start": self._places(start),
            "values": [[*self._places(candidate), -score] for candidate, score in scores.items()],
            "seed": (self.seed * RESTARTS + restart) % 2**31,
        }
        # NOMAD writes to stdout, and a crash of it would end the search: it runs in a process of its own.
        command = [sys.executable, "-m", "sweeps.search.nomad"]
        ran = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True)
        answer = [line for line in ran.stdout.splitlines() if line.startswith(ANSWER)]
        if not answer:
            return None
        places = json.loads(answer[-1].removeprefix(ANSWER))
        return self.space.candidate([order[i] for order, i in zip(self._orders, places, strict=True)])

    def _places(self, candidate: int) -> list[int]:
        return [order.index(i) for order, i in zip(self._orders, self.space.indices(candidate), strict=True)]


def main() -> None:
    """Print the first point that NOMAD asks for and the question on stdin has no value of; nothing if there is none."""
    import PyNomad

    question = json.load(sys.stdin)
    values = {tuple(places): value for *places, value in question["values"]}
    worst, asked = max(values.values()), False

    def objective(point: "PyNomad.PyNomadEvalPoint") -> int:
        nonlocal asked
        places = tuple(round(point.get_coord(i)) for i in range(point.size()))
        if places not in values and not asked:
            asked = True
            print(f"\n{ANSWER}{json.dumps(places)}", flush=True)
        point.setBBO(repr(float(values.get(places, worst))).encode())  # after the first question any answer will do
        return 1

    sizes = question["sizes"]
    options = [
        f"DIMENSION {len(sizes)}",
        f"BB_INPUT_TYPE ( {' '.join('I' * len(sizes))} )",
        "BB_OUTPUT_TYPE OBJ",
        f"MAX_BB_EVAL {len(values) + 1}",
        "DISPLAY_DEGREE 0",
        f"SEED {question['seed']}",
    ]
    PyNomad.optimize(objective, question["start"], [0] * len(sizes), [size - 1 for size in sizes], options)


if __name__ == "__main__":
    main()
