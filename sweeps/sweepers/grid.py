"""The full grid: every combination of the swept values, checked as a whole before the first cell runs."""

import copy
import itertools
import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from numbers import Real
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeps import settings
from sweeps.errors import SweepError
from sweeps.progress import RESULTS, results, write
from sweeps.promotion import Promoted, Promotion
from sweeps.space import derive, factors, rules

log = logging.getLogger(__name__)


class SweepFailed(Exception):
    """Some cells failed; the others are done."""


class GridSweeper(Sweeper):
    """Cartesian product of ``params`` (from the experiment) and the command line, which wins.

    The settings are checked by ``sweep``, not here: Hydra would bury the line of an error in one of its own.

    Args:
        params: swept values by key, in Hydra's sweep syntax.
        preflight: gets all composed configs before anything is launched and returns whether to go on.
        first_pass: overrides of the first launch. Jobs that then end with an exception whose ``retry_later`` is true are
            launched again without these at the end.
        derived: keys that follow from others, each a product: ``variant.alpha: rank * alpha_mult``.
        promote: so many of the best configurations are launched again with ``full`` at the end.
        full, average, report: see ``Promotion``.
    """

    KIND = "a grid"

    def __init__(
        self,
        params: Mapping[str, Any] | None,
        preflight: Callable[..., bool],
        first_pass: Sequence[str],
        derived: Mapping[str, str] | None = None,
        promote: int = 0,
        full: Sequence[str] = (),
        average: Sequence[str] = (),
        report: Callable[[Sequence[DictConfig], Sequence[float]], None] | None = None,
    ):
        self.params, self.derived = {} if params is None else params, {} if derived is None else derived
        self.preflight = preflight
        self.first_pass = first_pass
        self.promotion = Promotion(promote, full, average, report)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's hook: make the launcher."""
        from hydra.core.plugins import Plugins

        self.context, self.job_config = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn] | None:
        """Check and run the grid; None when the preflight said not to run it."""
        self.check()
        cells = self.expand(arguments)
        self._check_promotion(cells, len(cells))
        if not self.preflight(self.compose(cells)):
            return None
        jobs = self.launch(cells)
        scores = [score(job)[0] for job in jobs]
        keep = partial(self._write_best, cells, scores)
        keep()
        self._raise_failures(cells, jobs)
        if self.promotion.count and not any(value is not None for value in scores):
            raise SweepFailed(f"hydra.sweeper.promote={self.promotion.count}: no cell gave a number for a score")
        self.promote(cells, scores, len(jobs), keep)
        return jobs

    def check(self) -> None:
        """Raise SweepError for the first setting that cannot be."""
        settings.swept("params", self.params)
        settings.products("derived", self.derived)
        settings.overrides("first_pass", self.first_pass)
        settings.whole("promote", self.promotion.count, 0)
        settings.overrides("full", self.promotion.full)
        settings.keys("average", self.promotion.average)

    def _check_promotion(self, cells: Sequence[Sequence[str]], count: int) -> None:
        """Compose one full cell before anything runs; ``count``: of cells that there will be to choose from."""
        if self.promotion.count > count:
            raise SweepError(
                f"hydra.sweeper.promote={self.promotion.count} is more than the {count} cells that it chooses from"
            )
        if not self.promotion.count:
            return
        self.compose([one.overrides for one in replace(self.promotion, count=1).choose(cells[:1], [0.0])])
        unknown = [key for key in self.promotion.average if OmegaConf.select(self.job_config, key) is None]
        if unknown:
            raise SweepError(f"hydra.sweeper.average={unknown[0]} is no key of the config")

    def expand(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the override strings of every cell, the last axis varying fastest."""
        axes = self.axes(arguments)
        derived, hidden = rules(self.derived, axes), self.hidden(axes)
        cells = [derive(dict(zip(axes, values, strict=True)), derived, hidden) for values in itertools.product(*axes.values())]
        return [[f"{key}={value}" for key, value in cell.items()] for cell in cells]

    def hidden(self, axes: Iterable[str]) -> list[str]:
        """Those of the keys that only derived ones need: factors that are no keys of the config."""
        named = {name for rule in self.derived.values() for name in factors(rule)}
        return [key for key in axes if key in named and OmegaConf.select(self.job_config, key) is None]

    def axes(self, arguments: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of every key that ``params`` or the command line sets, as they stand in an override."""
        given = [f"{key}={_text(value)}" for key, value in self.params.items()] + list(arguments)
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        axes: dict[str, list[str]] = {}
        for override in parser.parse_overrides(given):
            key = override.get_key_element()
            if not override.is_sweep_override():
                axes[key] = [override.get_value_element_as_str()]
            elif override.is_discrete_sweep():
                axes[key] = [str(value) for value in override.sweep_string_iterator()]
                if not axes[key]:
                    raise SweepError(f"{key} has no values to choose from: {override.input_line}")
            else:
                raise HydraException(f"{key}: {self.KIND} needs a list of values, not an interval; write {key}=1e-4,1e-3")
        return axes

    def compose(self, cells: Sequence[Sequence[str]]) -> list[DictConfig]:
        """Return the config of every cell, without the ``hydra`` node.

        Hydra composes in some 50 ms, so cells that differ only in plain values share one composition, and the values are
        set on copies of it.
        """
        loader = self.context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        is_group = cache(lambda key: bool(loader.get_group_options(key)))
        composed: dict[tuple[str, ...], DictConfig] = {}
        configs = []
        for cell in cells:
            values: list[Override] = []
            rest: list[str] = []
            for text, override in zip(cell, parser.parse_overrides(list(cell)), strict=True):
                if override.type == OverrideType.CHANGE and not is_group(override.key_or_group):
                    values.append(override)
                else:
                    rest.append(text)
            if tuple(rest) not in composed:
                whole = loader.load_sweep_config(self.job_config, list(rest))
                with read_write(whole), open_dict(whole):
                    del whole["hydra"]
                composed[tuple(rest)] = whole
            config = copy.deepcopy(composed[tuple(rest)])
            for override in values:
                if not override.key_or_group.startswith("hydra."):
                    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            configs.append(config)
        return configs

    def launch(self, cells: Sequence[Sequence[str]], first: int = 0) -> list[JobReturn]:
        """Run the cells, those that ask for it a second time; their jobs are numbered from ``first`` on."""
        results = self._launch([[*cell, *self.first_pass] for cell in cells], first)
        again = [i for i, result in enumerate(results) if retry_later(result)]
        for i, result in zip(again, self._launch([cells[i] for i in again], first + len(cells)), strict=True):
            results[i] = result
        return results

    def _launch(self, cells: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the cells, each alone if the launcher raises for all, as submitit does where one of its jobs was killed.

        Nothing is known of the others then. Those that are finished return at once; one that raises again has failed.
        """
        if not cells:
            return []
        try:
            return list(self.launcher.launch(cells, initial_job_idx=first))
        except (HydraException, OmegaConfBaseException):
            raise  # of the command, not of a job
        except Exception as error:
            dead = JobReturn(overrides=cells[0], status=JobStatus.FAILED)
            dead.return_value = error
        if len(cells) == 1:
            return [dead]
        print(f"the launcher stopped ({reason(dead)}): its {len(cells)} cells are launched one by one", file=sys.stderr)
        return [result for i, cell in enumerate(cells) for result in self._launch([cell], first + i)]

    def promote(
        self,
        cells: Sequence[Sequence[str]],
        scores: Sequence[Any],
        first: int,
        write: Callable[[Sequence[Promoted]], None] | None = None,
    ) -> None:
        """Launch the best configurations in full, if so many are wanted, and tell and write what came of them.

        Raises:
            SweepFailed: some failed; the others have been told.
        """
        chosen = self.promotion.choose(cells, scores)
        if not chosen:
            return
        full = [one.overrides for one in chosen]
        results = self.launch(full, first)
        if self.promotion.report is not None:
            self.promotion.report(self.compose(full), [one.proxy for one in chosen])
        if write is not None:
            write([replace(one, score=score(result)[0]) for one, result in zip(chosen, results, strict=True)])
        self._raise_failures(full, results)

    def _write_best(
        self, cells: Sequence[Sequence[str]], scores: Sequence[float | None], promoted: Sequence[Promoted] = ()
    ) -> None:
        """The best cell where a search has its own; its params are what the cells have not in common."""
        shared = set(cells[0]).intersection(*cells) if len(cells) > 1 else set()
        varied = [[override for override in cell if override not in shared] for cell in cells]
        if found := results("grid", varied, scores, promoted):
            write(found, Path(self.job_config.hydra.sweep.dir) / RESULTS)

    def _raise_failures(self, cells: Sequence[Sequence[str]], results: Sequence[JobReturn]) -> None:
        failed = [i for i, result in enumerate(results) if result.status != JobStatus.COMPLETED]
        for i in failed:
            print(f"failed: {' '.join(cells[i])}: {reason(results[i])}", file=sys.stderr)
        if failed:
            raise SweepFailed(f"{len(failed)} of {len(cells)} cells failed; the same command tries them again")


def _text(value: Any) -> str:
    several = isinstance(value, Sequence) and not isinstance(value, str)  # OmegaConf's lists are no list
    return ",".join(str(v) for v in value) if several else str(value)


def reason(result: JobReturn) -> str:
    """The exception of a failed job in one line: its first two, for submitit's says what happened on the second."""
    # The public property raises a failed job's exception; here it is only to be told.
    error = result._return_value
    return " ".join(f"{type(error).__name__}: {error}".splitlines()[:2])


def score(result: JobReturn) -> tuple[float | None, str]:
    """A job's score, or None and why."""
    if result.status != JobStatus.COMPLETED:
        return None, reason(result)
    value = result.return_value
    if not is_number(value) or not math.isfinite(value):
        return None, f"the job gave {value!r} for a score, not a number"
    return float(value), ""


def is_number(value: Any) -> bool:
    """Whether a job's value can be a score; NaN can, of a cell that went wrong."""
    return isinstance(value, Real) and not isinstance(value, bool)


def retry_later(result: JobReturn) -> bool:
    """Whether the job asks to be launched again."""
    return result.status == JobStatus.FAILED and getattr(result._return_value, "retry_later", False)
