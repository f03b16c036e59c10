"""A search instead of a grid: ask a method for candidates, launch them as Hydra jobs, tell it their scores."""

import hashlib
import inspect
import json
import statistics
import sys
from abc import ABC
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from sweeps.errors import SweepError, SweepFailed
from sweeps.search import design
from sweeps.search.base import Observation, Search
from sweeps.space import Space, factors, rules
from sweeps.sweepers import settings
from sweeps.sweepers.base import CellSweeper
from sweeps.sweepers.jobs import no_answer, score
from sweeps.sweepers.journal import Journal, flatten, held
from sweeps.sweepers.progress import Table
from sweeps.sweepers.promotion import Promoted
from sweeps.sweepers.questions import fingerprint, going_on, made, question
from sweeps.sweepers.results import results, write


class SearchSweeper(CellSweeper):
    """``budget`` evaluations chosen by ``method`` from the swept values of ``params`` and the command line, which wins.

    A failed evaluation counts, is never asked for again and enters the method's model with the worst score measured. A diverged
    training is no failure: its cell ends with the score 0, which is told like any other. With ``parallel`` candidates at a
    time, those asked for and not yet answered enter the model with the median score (constant liar, Ginsbourger et al. 2010).

    Args:
        method: makes the ``Search`` from a space and a seed.
        name: of the method, for the journal.
        budget: evaluations.
        seed: of all draws of the method and of the first points.
        initial: evaluations of the design before the method is asked.
        design: how the first points are chosen, one of ``sweeps.search.design.DESIGNS``.
        parallel: evaluations at a time.
        max_failure_rate: share of the budget that may fail; beyond it nothing more is asked.
        journal: file of what was asked and told; the same command goes on from it.
        identity: gives of a composed config what decides its score, so that another search does not go on from the journal.
        cells: see ``CellSweeper``; ``preflight`` gets the configs of ``Space.cover``, and as ``expected`` a function that gives
            as many configs as will be run, like those that will be.
    """

    KIND = "a search over listed candidates"
    LARGEST_SEED = 2**32 - 1  # NumPy's legacy generators, which Optuna uses, take no larger one

    def __init__(
        self,
        method: Callable[[Space, int], Search],
        name: str,
        budget: int,
        seed: int,
        initial: int,
        design: str,
        parallel: int,
        max_failure_rate: float,
        journal: str,
        identity: Callable[[DictConfig], dict[str, Any]],
        **cells: Any,
    ):
        super().__init__(**cells)
        self.method, self.name, self.identity = method, name, identity
        self.budget, self.seed, self.initial, self.design = budget, seed, initial, design
        self.parallel, self.max_failure_rate, self.journal = parallel, max_failure_rate, journal

    @cached_property
    def journal_file(self) -> Path:
        """See ``journal``."""
        return Path(self.journal).expanduser()

    def sweep(self, arguments: list[str]) -> list[JobReturn] | None:
        """Check and run the search; None when the preflight said not to run it.

        Raises:
            SweepError: a setting, an axis or a journal that cannot be, or what the method needs is not at hand.
            SweepFailed: too many evaluations failed, a job gave no number, or a promoted cell failed.
        """
        with going_on():
            return self._sweep(arguments)

    def _sweep(self, arguments: list[str]) -> list[JobReturn] | None:
        self.check()
        fixed, space = self.space(arguments)
        if self.budget > len(space):
            raise SweepError(
                f"hydra.sweeper.budget={self.budget} is more than the {len(space)} candidates; hydra/sweeper=grid runs them all"
            )
        method = made(self.method, space, self.seed)
        cover = [[*fixed, *space.overrides(candidate)] for candidate in space.cover()]
        configs = self.composition.configs(cover)
        self.check_promotion(cover, self.budget)
        promotion = f", then the best {self.promotion.count} in full" if self.promotion.count else ""
        print(
            f"{self.name}: {self.budget} evaluations of {len(space)} candidates ({space}){promotion}; checked are the "
            f"{len(configs)} that show every value",
            file=sys.stderr,
        )
        if self.parallel > 1 and self.rounds.one_by_one:
            print(
                f"hydra.sweeper.parallel={self.parallel}: one after another, unless hydra/launcher is another", file=sys.stderr
            )
        expected = partial(self._expected, fixed, space)
        if not self.preflight(configs, expected=expected, elsewhere=not self.rounds.one_by_one):
            return None
        method.check()  # may fetch what the method needs, which a plan does not
        with held(self.journal_file):
            journal = Journal(self.journal_file, space, self._identity(method, configs), _title(configs))
            return self._search(method, fixed, journal)

    def _search(self, method: Search, fixed: Sequence[str], journal: Journal) -> list[JobReturn]:
        """The loop: what an interruption left open, then batch after batch, then the promotion."""
        space, table = journal.space, Table(journal.space, max(self.budget, len(journal.trials)))
        points = design.first(space, self.design, self.seed, min(self.initial, self.budget))
        for trial in journal.trials:
            table.row(trial)
        jobs: list[JobReturn] = []
        self._stop_if_failing(journal)
        while numbers := journal.open() or self._ask(journal, method, points):
            batch = numbers[: self.parallel]
            cells = [[*fixed, *space.overrides(journal.trials[number].candidate)] for number in batch]
            answers = self.rounds.run(cells)
            jobs.extend(answers)
            for number, job in zip(batch, answers, strict=True):
                if not no_answer(job):
                    journal.tell(number, *score(job))
                    table.row(journal.trials[number])
            self._keep(journal)
            if stop := next(filter(None, map(no_answer, answers)), ""):
                raise SweepFailed(stop)
            self._stop_if_failing(journal)
        cells = [[*fixed, *space.overrides(trial.candidate)] for trial in journal.trials]
        self._keep(journal)
        self.promote(cells, [trial.score for trial in journal.trials], partial(self._keep, journal))
        return jobs

    def space(self, arguments: Sequence[str]) -> tuple[list[str], Space]:
        """The overrides of all evaluations, and the space of the others, whatever the order of the command line."""
        named = {name for rule in self.derived.values() for name in factors(rule)}
        swept = self.axes(sorted(arguments, key=lambda text: text.partition("=")[0]))
        rules(self.derived, swept)
        axes = {key: texts for key, texts in swept.items() if len(texts) > 1 or key in named}
        fixed = [f"{key}={texts[0]}" for key, texts in swept.items() if key not in axes]
        return fixed, Space(axes, self.derived, self.hidden(axes))

    def check(self) -> None:
        """See ``CellSweeper.check``."""
        super().check()
        settings.file_name("name", self.name, "the method's name, of letters, digits and _")
        settings.text("journal", self.journal, "a file")
        settings.whole("budget", self.budget, 1)
        settings.whole("parallel", self.parallel, 1)
        settings.first_points(self.initial, self.design)
        settings.whole("seed", self.seed, 0, self.LARGEST_SEED)
        settings.share("max_failure_rate", self.max_failure_rate)
        if self.journal_file.suffix == ".yaml":
            raise SweepError(f"hydra.sweeper.journal={self.journal_file} must not end in .yaml, which its results do")
        settings.method(self.method, self.name, skip=2)

    def _expected(self, fixed: Sequence[str], space: Space) -> list[DictConfig]:
        """Configs of as many cells as will be run: candidates spread like the first points, and some of them in full."""
        points = design.first(space, self.design, self.seed, self.budget)
        cells = [[*fixed, *space.overrides(candidate)] for candidate in points]
        full = self.promotion.choose(cells, [0.0] * len(cells))
        return self.composition.configs([*cells, *(promoted.overrides for promoted in full)])

    def _identity(self, method: Search, configs: Sequence[DictConfig]) -> dict[str, Any]:
        """What decides questions and scores, for the journal: of the configs, what they share, and a hash of the rest."""
        deciding = [flatten(self.identity(config)) for config in configs]
        shared = dict(deciding[0])
        for values in deciding[1:]:
            shared = {key: value for key, value in shared.items() if key in values and values[key] == value}
        rest = [{key: value for key, value in values.items() if key not in shared} for values in deciding]
        switches = flatten(OmegaConf.to_container(self.job_config.hydra.sweeper.method, resolve=True))
        return {
            "method": self.name,
            "settings": {key: value for key, value in switches.items() if not key.rpartition(".")[2].startswith("_")},
            "fingerprint": fingerprint(method) | _own_code(type(method)),
            "version": _versions(type(method)),
            "seed": self.seed,
            "initial": self.initial,
            "design": self.design,
            "config": dict(sorted(shared.items())),
            "config of the values": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16],
        }

    def _ask(self, journal: Journal, method: Search, points: Sequence[int]) -> list[int]:
        """Numbers of the next trials, noted in the journal; none when the budget is spent."""
        answered = journal.history()
        scores = [observation.score for observation in answered if observation.score is not None]
        lie = statistics.median(scores) if scores else None
        batch: list[int] = []
        for _ in range(min(self.parallel, self.budget - len(journal.trials))):
            history = [*answered, *(Observation(candidate, lie) for candidate in batch)]
            point = design.next_first(points, history)
            batch.append(question(method, history, journal.space) if point is None else point)
        return journal.ask(batch) if batch else []

    def _keep(self, journal: Journal, promoted: Sequence[Promoted] = ()) -> None:
        """Write the best so far where every sweep has it, and beside the journal, where no other search replaces it."""
        cells = [journal.space.overrides(trial.candidate) for trial in journal.trials]
        scores = [trial.score for trial in journal.trials]
        if content := results(self.name, cells, scores, promoted, len(journal.open()), journal=str(journal.file)):
            write(content, self.results_file, self.journal_file.with_suffix(".yaml"))

    def _stop_if_failing(self, journal: Journal) -> None:
        failed = [trial for trial in journal.trials if trial.status == "failed"]
        if len(failed) > self.max_failure_rate * self.budget:
            raise SweepFailed(
                f"{len(failed)} of {len(journal.trials)} evaluations failed, more than hydra.sweeper.max_failure_rate="
                f"{self.max_failure_rate:g} of {self.budget} allows; the last one: {failed[-1].note}. Failures are not tried "
                "again: mend the cause and give another hydra.sweeper.journal (finished cells are not trained again), or a "
                "larger max_failure_rate"
            )


def _title(configs: Sequence[DictConfig]) -> str:
    """`tiny · arithmetic`: names of model and task, where an application has such."""
    names = [dict.fromkeys(OmegaConf.select(config, key) for config in configs) for key in ("model.name", "task.name")]
    return " · ".join(", ".join(map(str, values)) for values in names if None not in values)


def _versions(method: type[Search]) -> dict[str, int]:
    """What the classes of this package that a method is made of state; see ``Search.version``."""
    return {base.__name__: vars(base)["version"] for base in method.__mro__ if _vouches(base)}


def _own_code(method: type[Search]) -> dict[str, str]:
    """A hash of the source of all other classes that a method is made of: changed, it is another search."""
    files = {Path(inspect.getfile(base)) for base in method.__mro__ if base not in (ABC, object) and not _vouches(base)}
    contents = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return {"code": hashlib.sha256(" ".join(contents).encode()).hexdigest()[:16]} if files else {}


def _vouches(base: type) -> bool:
    """Whether a class is of this package and states a version in its own body."""
    return base.__module__.partition(".")[0] == "sweeps" and isinstance(vars(base).get("version"), int)
