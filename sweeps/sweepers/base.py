"""What all sweepers have in common: settings, swept values, checks, and the promotion of the best."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeps.errors import SweepError
from sweeps.space import factors
from sweeps.sweepers import settings
from sweeps.sweepers.composition import Composition
from sweeps.sweepers.jobs import raise_failures, score
from sweeps.sweepers.promotion import Promoted, Promotion
from sweeps.sweepers.results import RESULTS
from sweeps.sweepers.rounds import Rounds


class CellSweeper(Sweeper):
    """A sweeper over listed values of ``params`` (from the experiment) and the command line, which wins.

    A subclass gives ``sweep``: it checks its settings, gets the values by ``axes``, asks the ``preflight`` with the configs
    that ``composition`` makes, launches cells by ``rounds`` as often as it likes, writes its best to ``results_file``, and ends
    with ``promote``. The settings are checked by ``sweep``, not here: Hydra would bury the line of an error in one of its own.

    Args:
        params: swept values by key, in Hydra's sweep syntax or as a list, whose items stay whole.
        preflight: gets all composed configs before anything is launched, and as ``elsewhere`` whether the launcher runs jobs in
            processes of their own; returns whether to go on.
        first_pass: overrides of a round's first launch, see ``Rounds``.
        derived: keys that follow from others, each a product: ``variant.alpha: rank * alpha_mult``.
        promote: so many of the best configurations are launched again with ``full`` at the end.
        full: see ``Promotion``.
        average: see ``Promotion``.
        report: see ``Promotion``.

    Attributes:
        KIND: what it is, for messages.
        job_config: the command's config.
        composition: of configs, once Hydra has called ``setup``.
        rounds: of launches, once Hydra has called ``setup``.
    """

    KIND: str
    job_config: DictConfig
    composition: Composition
    rounds: Rounds

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
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.job_config = config
        self.composition = Composition(hydra_context.config_loader, config)
        self.rounds = Rounds(launcher, self.first_pass)

    def check(self) -> None:
        """Raise SweepError for the first setting that cannot be."""
        settings.swept("params", self.params)
        settings.products("derived", self.derived)
        settings.overrides("first_pass", self.first_pass)
        settings.whole("promote", self.promotion.count, 0)
        settings.overrides("full", self.promotion.full)
        settings.keys("average", self.promotion.average)

    def check_promotion(self, cells: Sequence[Sequence[str]], count: int) -> None:
        """Compose one full cell before anything runs.

        Args:
            cells: some, by their overrides.
            count: of cells that there will be to choose from.

        Raises:
            SweepError: fewer than are to be promoted, or a key to average over that the config has not.
        """
        if self.promotion.count > count:
            raise SweepError(
                f"hydra.sweeper.promote={self.promotion.count} is more than the {count} cells that it chooses from"
            )
        if not self.promotion.count:
            return
        self.composition.configs([full.overrides for full in replace(self.promotion, count=1).choose(cells[:1], [0.0])])
        if missing := [key for key in self.promotion.average if not self.composition.has(key)]:
            raise SweepError(f"hydra.sweeper.average={missing[0]} is no key of the config")

    def axes(self, arguments: Sequence[str]) -> dict[str, list[str]]:
        """The values of every key that ``params`` or the command line sets, as they stand in an override."""
        params = [f"{key}={self.composition.values(value)}" for key, value in self.params.items()]
        return self.composition.axes([*params, *arguments], self.KIND)

    def hidden(self, axes: Iterable[str]) -> list[str]:
        """Those of the keys that only derived ones need: factors that are no keys of the config."""
        named = {name for rule in self.derived.values() for name in factors(rule)}
        return [key for key in axes if key in named and not self.composition.has(key)]

    @property
    def results_file(self) -> Path:
        """Where Hydra's own sweepers have the best, too."""
        return Path(self.job_config.hydra.sweep.dir) / RESULTS

    def promote(
        self, cells: Sequence[Sequence[str]], scores: Sequence[float | None], keep: Callable[[Sequence[Promoted]], None]
    ) -> None:
        """Launch the best configurations in full, if so many are wanted, report on them and ``keep`` what came of them.

        Raises:
            SweepFailed: some failed; the others have been kept.
        """
        chosen = self.promotion.choose(cells, scores)
        if not chosen:
            return
        full = [promoted.overrides for promoted in chosen]
        jobs = self.rounds.run(full)
        if self.promotion.report is not None:
            self.promotion.report(self.composition.configs(full), [promoted.proxy for promoted in chosen])
        keep([replace(promoted, score=score(job)[0]) for promoted, job in zip(chosen, jobs, strict=True)])
        raise_failures(full, jobs)
