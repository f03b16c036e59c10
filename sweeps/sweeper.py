"""A search instead of a grid: ask a method for candidates, launch them as Hydra jobs, tell it their scores."""

import importlib.util
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from sweeps.grid import GridSweeper, SweepFailed, reason
from sweeps.journal import Journal, best
from sweeps.progress import Table
from sweeps.search import design
from sweeps.search.base import Observation, Search
from sweeps.space import Space, SpaceError, factors

RESULTS = "optimization_results.yaml"


class SearchSweeper(GridSweeper):
    """``budget`` evaluations chosen by ``method`` from the swept values of ``params`` and the command line, which wins.

    A failed evaluation counts, is never asked for again and enters the method's model with the worst score measured. With
    ``parallel`` candidates at a time, those asked for and not yet answered enter it with the median score (constant liar,
    Ginsbourger et al. 2010).

    Args:
        params: values to choose from by key, in Hydra's sweep syntax.
        derived: keys that follow from them, such as ``variant.alpha: rank * alpha_mult``.
        method: makes the ``Search`` from a space and a seed.
        name: of the method, for the journal.
        budget: evaluations.
        seed: of all draws of the method and of the first points.
        initial: evaluations of the design before the method is asked.
        design: how the first points are chosen, one of ``sweeps.search.design.DESIGNS``.
        parallel: evaluations at a time.
        max_failure_rate: share of the budget that may fail before the search stops.
        journal: file of what was asked and told; the same command goes on from it.
        preflight: gets the composed configs of the first points, and returns whether to go on.
        knobs: keys whose overrides change no score, so that the same search goes on with others.
        first_pass, promote, full, report: see ``GridSweeper``.
    """

    KIND = "a search over listed candidates"

    def __init__(
        self,
        params: dict[str, Any] | None,
        derived: dict[str, str] | None,
        method: Callable[[Space, int], Search],
        name: str,
        budget: int,
        seed: int,
        initial: int,
        design: str,
        parallel: int,
        max_failure_rate: float,
        journal: str,
        preflight: Callable[[Sequence[DictConfig]], bool],
        first_pass: Sequence[str],
        knobs: Sequence[str],
        promote: int = 0,
        full: Sequence[str] = (),
        report: Callable[[Sequence[DictConfig], Sequence[float]], None] | None = None,
    ):
        super().__init__(params, preflight, first_pass, derived, promote, full, report)
        self.method, self.name = method, name
        self.budget, self.seed, self.initial, self.design = budget, seed, initial, design
        self.knobs = set(knobs)
        self.parallel, self.max_failure_rate, self.journal_file = parallel, max_failure_rate, Path(journal)

    def sweep(self, arguments: list[str]) -> list[JobReturn] | None:
        """Check and run the search; None when the preflight said not to run it."""
        fixed, space = self.space(arguments)
        self._check(space)
        method = self.method(space, self.seed)
        if missing := [name for name in method.needs if importlib.util.find_spec(name) is None]:
            raise SpaceError(f"hydra/sweeper={self.name} needs {', '.join(missing)}: pip install 'lorabench[search]'")
        print(f"{self.name}: {len(space)} candidates, {self.budget} evaluations", file=sys.stderr)
        points = design.first(space, self.design, self.seed, min(self.initial, self.budget))
        if not self.preflight(self.compose([[*fixed, *space.overrides(point)] for point in points or [0]])):
            return None
        deciding = [text for text in fixed if text.split("=")[0] not in self.knobs]
        search = {"method": self.name, "seed": self.seed, "initial": self.initial, "design": self.design, "fixed": deciding}
        journal = Journal(self.journal_file, space, search)
        table = Table(space, self.budget)
        for trial in journal.trials:
            table.row(trial)
        results: list[JobReturn] = []
        while numbers := journal.open() or self._ask(journal, method, points):
            batch = numbers[: self.parallel]
            cells = [[*fixed, *space.overrides(journal.trials[number].candidate)] for number in batch]
            for number, result in zip(batch, self.launch(cells, first=len(results)), strict=True):
                results.append(result)
                score, note = _score(result)
                journal.tell(number, score, note)
                table.row(journal.trials[number])
            self._write(journal)
            self._stop_if_failing(journal)
        told = journal.trials
        cells = [[*fixed, *space.overrides(trial.candidate)] for trial in told]
        self._write(journal, self.promote(cells, [trial.score for trial in told], len(told)))
        return results

    def space(self, arguments: Sequence[str]) -> tuple[list[str], Space]:
        """The overrides of all evaluations, and the space of the others."""
        named = {name for rule in self.derived.values() for name in factors(rule)}
        given = self.axes(arguments)
        axes = {key: texts for key, texts in given.items() if len(texts) > 1 or key in named}
        fixed = [f"{key}={texts[0]}" for key, texts in given.items() if key not in axes]
        return fixed, Space(axes, self.derived, self.hidden(axes))

    def _check(self, space: Space) -> None:
        if self.design not in design.DESIGNS:
            raise SpaceError(f"hydra.sweeper.design={self.design} is none of {', '.join(design.DESIGNS)}")
        if min(self.budget, self.parallel) < 1:
            raise SpaceError(f"hydra.sweeper.budget={self.budget} and parallel={self.parallel} must be at least 1")
        if not 0 <= self.max_failure_rate <= 1:
            raise SpaceError(f"hydra.sweeper.max_failure_rate={self.max_failure_rate:g} must be between 0 and 1")
        if self.budget > len(space):
            raise SpaceError(
                f"hydra.sweeper.budget={self.budget} is more than the {len(space)} candidates; hydra/sweeper=grid runs them all"
            )

    def _ask(self, journal: Journal, method: Search, points: Sequence[int]) -> list[int]:
        """Numbers of the next trials, noted in the journal; none when the budget is spent."""
        asked: list[int] = []
        for _ in range(min(self.parallel, self.budget - len(journal.trials))):
            known = journal.history()
            told = [one.score for one in known if one.score is not None]
            lie = statistics.median(told) if told else None
            waiting = [Observation(journal.trials[number].candidate, lie) for number in asked]
            history = [*known, *waiting]
            point = design.next_first(points, history)
            asked.append(journal.ask(method.ask(history) if point is None else point))
        return asked

    def _write(self, journal: Journal, promoted: Sequence[float] = ()) -> None:
        """The best evaluation so far, in the form of Hydra's own sweepers."""
        number = best(journal.trials)
        if number is None:
            return
        trial = journal.trials[number]
        found: dict[str, Any] = {
            "name": self.name,
            "best_evaluated_params": dict(text.split("=", 1) for text in journal.space.overrides(trial.candidate)),
            "best_evaluated_result": trial.score,
            "evaluation": number + 1,
            "evaluations": sum(trial.status != "asked" for trial in journal.trials),
            "failed": sum(trial.status == "failed" for trial in journal.trials),
            "journal": str(self.journal_file),
        }
        if promoted:
            found["promoted_results"] = list(promoted)
        folder = Path(self.job_config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(found), folder / RESULTS)

    def _stop_if_failing(self, journal: Journal) -> None:
        failed = [trial for trial in journal.trials if trial.status == "failed"]
        if len(failed) > self.max_failure_rate * self.budget:
            raise SweepFailed(
                f"{len(failed)} of {len(journal.trials)} evaluations failed, more than hydra.sweeper.max_failure_rate="
                f"{self.max_failure_rate:g} of {self.budget} allows; the last one: {failed[-1].note}"
            )


def _score(result: JobReturn) -> tuple[float | None, str]:
    """A job's score, or None and why."""
    if result.status != JobStatus.COMPLETED:
        return None, reason(result)
    value = result.return_value
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None, f"the job gave {value!r} for a score, not a number"
    return float(value), ""
