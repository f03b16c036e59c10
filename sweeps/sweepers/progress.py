"""What a search shows of itself: a table with a row after every evaluation, and a file with the best."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sweeps.journal import Trial
from sweeps.promotion import Promoted
from sweeps.space import Space

RESULTS = "optimization_results.yaml"
WIDTH = 10


class Table:
    """Prints evaluations as they are answered: number, values, score, best so far."""

    def __init__(self, space: Space, budget: int) -> None:
        self._space, self._budget = space, budget
        self._count = 0
        self._best: float | None = None
        names = [*(key.removeprefix("variant.") for key in space.keys), "score", "best"]
        self._widths = [max(len(name), WIDTH) for name in names]
        self._print("", names)

    def row(self, trial: Trial) -> None:
        """Print an answered trial."""
        if trial.status == "asked":
            return
        self._count += 1
        new = trial.score is not None and (self._best is None or trial.score > self._best)
        self._best = trial.score if new else self._best
        score = "failed" if trial.score is None else f"{trial.score:.4g}"
        best = "-" if self._best is None else f"{self._best:.4g}{'*' if new else ' '}"
        self._print(f"[{self._count}/{self._budget}]", [*self._space.texts(trial.candidate).values(), score, best])

    def _print(self, place: str, cells: list[str]) -> None:
        print(
            f"{place:<9}" + " ".join(f"{cell:>{width}}" for cell, width in zip(cells, self._widths, strict=True)),
            file=sys.stderr,
        )


def results(
    name: str,
    cells: Sequence[Sequence[str]],
    scores: Sequence[float | None],
    promoted: Sequence[Promoted] = (),
    unanswered: int = 0,
    **more: str,
) -> dict[str, Any] | None:
    """The best evaluation so far, in the form of Hydra's own sweepers, and the promoted cells; None before any score.

    Args:
        name: of the method.
        cells: overrides of the evaluations.
        scores: theirs; None: failed, or one of the ``unanswered``.
        promoted: the full cells.
        unanswered: evaluations that are still open.
        more: to be written too.
    """
    told = {number: score for number, score in enumerate(scores) if score is not None}
    if not told:
        return None
    best = max(told, key=told.__getitem__)  # the first of equals
    found: dict[str, Any] = {
        "name": name,
        "best_evaluated_params": params(cells[best]),
        "best_evaluated_result": told[best],
        "evaluation": best + 1,
        "evaluations": len(scores) - unanswered,
        "failed": len(scores) - unanswered - len(told),
        **more,
    }
    if promoted:
        found["promoted_results"] = [
            {"params": params(one.overrides), "proxy": one.proxy, "score": one.score} for one in promoted
        ]
    return found


def params(overrides: Sequence[str]) -> dict[str, int | float | str]:
    """Overrides as values by key."""
    return {key: _typed(text) for key, _, text in (override.partition("=") for override in overrides)}


def _typed(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def write(content: dict[str, Any], *files: Path) -> None:
    """Write a yaml to each of the files, by atomic rename: readers see the whole or what was before."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        OmegaConf.save(OmegaConf.create(content), scratch)
        os.replace(scratch, file)
