"""Mesh adaptive direct search (Audet & Dennis 2006) of NOMAD 4, over the positions of each axis."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sweeps.errors import SweepError
from sweeps.search.base import Observation, Search, filled_scores, untried
from sweeps.space import Space

ASKS, VISITS = "asks: ", "visits: "
"""Beginnings of the lines in which the process of a run tells points."""

RUNS = 4
"""After so many, each of which ended before it asked something new, the candidates are random. Not tuned."""

EVALUATIONS = 10
"""So many visits of points, known or not, for each one that is known: at its end NOMAD only circles around the best."""


class Nomad(Search):
    """One run of NOMAD from the best of the first points.

    NOMAD calls its objective; here it is asked for the next point by running it again over what is known: it is deterministic
    given its seed, so it repeats its questions until one has no answer yet. An axis that is no number counts by its positions,
    which is as good as NOMAD can do with it. When the run ends before the budget, or NOMAD crashes, as it does where most of a
    small space is known, the next one begins with another seed, from the best that was met.

    Args:
        space: the candidates.
        seed: of NOMAD.
        initial: so many evaluations of the history are first points.
    """

    version: ClassVar[int] = 1

    needs = ("PyNomad",)

    def __init__(self, space: Space, seed: int, initial: int = 1) -> None:
        super().__init__(space, seed)
        self._initial = max(initial, 1)
        # NOMAD takes no variable whose bounds are equal.
        self._orders = {i: axis.order for i, axis in enumerate(space.axes) if len(axis.texts) > 1}

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        free = untried(self.space, history)
        if history:
            scores = dict(zip((observation.candidate for observation in history), filled_scores(history), strict=True))
            met = [observation.candidate for observation in history[: self._initial]]
            for run in range(RUNS):
                unknown, visited = self._run(scores, max(met, key=scores.__getitem__), run)
                if unknown is not None:
                    return self._candidate(unknown)
                met += [self._candidate(places) for places in visited]
        return int(self.generator(history).choice(free.nonzero()[0]))

    def _run(self, scores: dict[int, float], start: int, run: int) -> tuple[list[int] | None, list[list[int]]]:
        """The point that NOMAD asks next, if any, and those of the known that it visited before.

        Raises:
            SweepError: NOMAD crashed before it visited any.
        """
        question = {
            "sizes": [len(order) for order in self._orders.values()],
            "start": self._places(start),
            "values": [[*self._places(candidate), -score] for candidate, score in scores.items()],
            "seed": (self.seed * RUNS + run) % 2**31,
        }
        # NOMAD writes to stdout, and a crash of it would end the search: it runs in a process of its own.
        # With -m, a folder sweeps of the user's own, where this one works, would be what is imported.
        place = str(Path(__file__).parents[2])
        code = f"import sys; sys.path.insert(0, {place!r}); from sweeps.search.nomad import main; main()"
        command = [sys.executable, "-P", "-c", code]
        ran = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True)
        lines = ran.stdout.splitlines()
        unknown = next((json.loads(line.removeprefix(ASKS)) for line in lines if line.startswith(ASKS)), None)
        visited = [json.loads(line.removeprefix(VISITS)) for line in lines if line.startswith(VISITS)]
        if unknown is None and not visited:
            message = (ran.stderr.strip() or ran.stdout.strip() or "it said nothing").splitlines()[-1]
            raise SweepError(f"NOMAD crashed after {len(scores)} evaluations (exit code {ran.returncode}): {message}")
        return unknown, visited

    def _places(self, candidate: int) -> list[int]:
        indices = self.space.indices(candidate)
        return [order.index(indices[i]) for i, order in self._orders.items()]

    def _candidate(self, places: Sequence[int]) -> int:
        indices = [0] * len(self.space.axes)
        for (i, order), place in zip(self._orders.items(), places, strict=True):
            indices[i] = order[place]
        return self.space.candidate(indices)


def main() -> None:
    """Print the points that NOMAD visits, up to the first that the question on stdin has no value of, which it asks."""
    import PyNomad  # of an extra: `Search.check` says how to install it

    question = json.load(sys.stdin)
    values = {tuple(places): value for *places, value in question["values"]}

    def tell(kind: str, places: tuple[int, ...]) -> None:
        print(f"\n{kind}{json.dumps(places)}", flush=True)

    def objective(point: "PyNomad.PyNomadEvalPoint") -> int:
        places = tuple(round(point.get_coord(i)) for i in range(point.size()))
        if places not in values:
            tell(ASKS, places)
            os._exit(0)  # NOMAD itself can only be stopped by a count
        tell(VISITS, places)
        point.setBBO(repr(float(values[places])).encode())
        return 1

    sizes = question["sizes"]
    options = [
        f"DIMENSION {len(sizes)}",
        f"BB_INPUT_TYPE ( {' '.join('I' * len(sizes))} )",
        "BB_OUTPUT_TYPE OBJ",
        f"MAX_BB_EVAL {len(values) + 1}",
        f"MAX_EVAL {EVALUATIONS * (len(values) + 1)}",
        "DISPLAY_DEGREE 0",
        "NM_SEARCH no",  # on integers, NOMAD 4.6's Nelder-Mead search ends in a segmentation fault near an optimum
        f"SEED {question['seed']}",
    ]
    PyNomad.optimize(objective, question["start"], [0] * len(sizes), [size - 1 for size in sizes], options)
