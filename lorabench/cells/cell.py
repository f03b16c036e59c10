"""A cell: one point of the grid, with its parts built and named."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from lorabench.annotations import text_of
from lorabench.cells import parts
from lorabench.cells.session import Session
from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.models.base import Base
from lorabench.models.devices import resolve_device
from lorabench.models.fingerprint import fingerprint, fingerprint_of_schema_1
from lorabench.models.names import named
from lorabench.models.shapes import linear_shapes
from lorabench.probes.base import Probe
from lorabench.records import legacy
from lorabench.records.earlier import finished, same_settings
from lorabench.records.environment import check_environment
from lorabench.records.identity import identity
from lorabench.records.kept import Damaged, read_record
from lorabench.records.shared import Shared
from lorabench.schema import CONF, Config, ModelConfig, TrainerConfig, unrecorded_fields
from lorabench.subsets.base import Subset
from lorabench.tasks.base import Task
from lorabench.terminal.formats import format_lr
from lorabench.trackers.base import TrackedCell
from lorabench.training.data import Corpora
from lorabench.variants import targets
from lorabench.variants.base import Variant

T = TypeVar("T")

FIELDS = tuple(each.name for each in fields(Config))
PARTS = tuple(name for name in FIELDS if (CONF / name).is_dir())
"""Keys with a choice of configs each."""


@dataclass(frozen=True)
class Cell:
    """A resolved config and what follows from it.

    Attributes:
        config: as composed by Hydra.
        session: what the process holds for all cells.
        shared: what cells of the same grid have in common.
    """

    config: dict[str, Any]
    session: Session
    shared: Shared = field(default_factory=Shared, repr=False, compare=False)

    @classmethod
    def of(cls, cfg: DictConfig | dict[str, Any], session: Session, shared: Shared | None = None) -> "Cell":
        """Resolve a composed config.

        Args:
            cfg: as composed, or resolved already.
            session: what the process holds for all cells.
            shared: by cells of the same grid.

        Raises:
            UserError: a key is gone, or has no value, such as ``model.name`` where a yaml of one's own leaves it out; a part
                is none; a key comes from the environment.
        """
        if not isinstance(cfg, dict):  # those that are resolved have no such key: ``sweeps.sweepers.resolved``
            check_environment(cfg, unrecorded_fields(Config) | {"hydra"})
        try:
            resolved = cfg if isinstance(cfg, dict) else OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except MissingMandatoryValue as error:
            raise UserError(f"{error.full_key} has no value; give it in its yaml, or as {error.full_key}=VALUE") from error
        assert isinstance(resolved, dict)
        if "hessian" in resolved:  # as schema 1 had it
            raise UserError("hessian is probe now, with probe=hessian")
        for name in FIELDS:
            if name not in resolved:
                raise UserError(f"{name} must have a value; leave ~{name} out")
        config = {str(key): value for key, value in resolved.items() if key != "hydra"}
        for group in PARTS:
            if not isinstance(config[group], dict):
                raise UserError(
                    f"{group}={text_of(config[group])} is no part: give keys with values in its yaml, or {group}=NAME"
                )
        shared = shared or Shared()
        config["model"] = shared.of("named", (config["model"],), lambda: named(config["model"]))
        return cls(config, session, shared)

    def once(self, what: Hashable, keys: Iterable[str], make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for all cells of the grid with the same values of these keys of the config."""
        return self.shared.of(what, [self.config.get(key) for key in keys], make)  # a record leaves some out

    def check_settings(self) -> None:
        """Check what ``settings`` does, unless each value was right in another cell of the grid.

        Raises:
            UserError: see ``settings``.
        """
        right: dict[tuple[str, int], Any] = self.shared.of("right settings", (), dict)
        values = zip(self.config, map(id, self.config.values()), strict=True)
        if not right.keys() >= set(values):
            _ = self.settings
            right |= {(key, id(value)): value for key, value in self.config.items()}

    @cached_property
    def settings(self) -> Config:
        """The config's keys as attributes; its groups are there as they stand in it.

        Raises:
            UserError: a key that no cell has.
        """
        return parts.settings(Config, self.config, "")

    @cached_property
    def model(self) -> ModelConfig:
        """The base model's settings."""
        return parts.settings(ModelConfig, self.config["model"], "model.")

    @cached_property
    def trainer(self) -> TrainerConfig:
        """The training loop's settings."""
        return parts.settings(TrainerConfig, self.config["trainer"], "trainer.")

    @cached_property
    def task(self) -> Task:
        """The task; cells of one process share it and its data."""
        return self.session.part(self.settings.task, "task", Task)

    @cached_property
    def generator(self) -> Generator:
        """The text generator; cells of one process share it."""
        return self.session.part(self.settings.evaluator, "evaluator", Generator)

    @cached_property
    def variant(self) -> Variant:
        """The variant, built anew for every cell."""
        return parts.build(self.variant_config, "variant", Variant)

    @cached_property
    def variant_config(self) -> dict[str, Any]:
        """The variant's part of the config, with the names of the model's layers where it leaves them open.

        A line says so. The identity has what was given: with the model's fingerprint it decides the names.
        """
        given, shapes = self.settings.variant, partial(linear_shapes, self.model)
        if not isinstance(given, dict):
            return given
        made = targets.resolved(given, shapes)
        if text := targets.line(self.model.name, given, made, shapes):
            self.session.note_once(text)
        return made

    @property
    def mergeable(self) -> bool:
        """Whether plain weights answer for what the variant learns.

        A quantised base answers with its adapter, as it was trained, where the evaluator can (``hf``), or else dequantised.
        """
        through_adapter = self.model.quantization is not None and self.generator.serves_adapted
        return self.variant.mergeable and not through_adapter

    @cached_property
    def subset(self) -> Subset:
        """What a proxy is trained on."""
        return parts.build(self.settings.subset, "subset", Subset)

    @cached_property
    def probe(self) -> Probe:
        """What is measured along training."""
        return parts.build(self.settings.probe, "probe", Probe)

    def base(self) -> Base:
        """The loaded base model."""
        return self.session.base(self.model, resolve_device(self.settings.device))

    def corpora(self, base: Base) -> Corpora:
        """The tokenised texts."""
        return self.session.corpora(self.task, self.identity["task"], base, self.trainer.max_length)

    @property
    def data_seed(self) -> int:
        """What decides subset and order."""
        return self.settings.seed if self.settings.data_seed is None else self.settings.data_seed

    @property
    def is_proxy(self) -> bool:
        """Whether it is trained on a part of its samples alone."""
        return self.settings.train_fraction < 1

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on which the cell is scored. Proxies are selected by validation; test is for what was selected."""
        return ("validation",) if self.is_proxy else ("validation", "test")

    @property
    def recorded_config(self) -> dict[str, Any]:
        """The config without what says how a process goes about it."""
        return {key: value for key, value in self.config.items() if key not in unrecorded_fields(Config)}

    @property
    def identity(self) -> dict[str, Any]:
        """See ``records.identity``.

        Raises:
            UserError: local data or weights that it needs are not at hand.
        """
        of_model = self.once("fingerprint", ("model",), lambda: fingerprint(self.model))
        of_data = self.once("data fingerprint", ("task",), lambda: self.task.fingerprint())
        return identity(self.config, of_model, of_data, self.shared)

    @cached_property
    def id(self) -> str:
        """The name of the cell's folder."""
        return self.shared.digest(self.identity)

    @cached_property
    def folder(self) -> Path:
        """Where the cell lives: under its id, or under one of before where it was trained then.

        These are that of schema 1, and the one with a data_seed stated that is the seed, which had an id of its own.
        A line says so where a finished cell of the same settings has another id and is not used.
        """
        self.check_settings()
        output = Path(self.config["output_dir"])
        own = output / self.id
        present = self.once("finished", ("output_dir",), lambda: finished(output.absolute())).names()
        if not present or own.exists():
            return own
        identity = self.identity
        seed, of_model = self.config["seed"], self.once("of schema 1", ("model",), lambda: fingerprint_of_schema_1(self.model))
        of_schema_1 = legacy.legacy_identity(self.config, identity, of_model, self.shared)
        names = {self.shared.digest(of_schema_1): False}
        if self.config["data_seed"] in (None, seed):
            names[self.shared.digest(identity | {"data_seed": seed})] = True
        for name, stated in names.items():
            if name not in present:
                continue
            earlier, usable = output / name, stated or legacy.changed_part(identity) is None
            if not _unfinished(self._sound_record(earlier)):
                if usable:
                    return earlier
            elif earlier.exists():
                self.session.note_once(
                    f"{earlier} is an unfinished cell of an earlier version: {self} begins anew, in {self.id}"
                )
        if other := same_settings(output, self.config, identity, of_schema_1, self.shared):
            folder, changes = other
            what = "; ".join(changes)
            self.session.note_once(
                f"{folder} has the same settings, but not the same code or files ({what}): {self} is trained anew, in {self.id}"
            )
        return own

    def record(self) -> dict[str, Any] | None:
        """The record of an earlier run, None while there is none; a failed run is tried again, and so is one that is damaged.

        Raises:
            UserError: a newer lorabench wrote it.
        """
        record = self._sound_record(self.folder)
        return None if _unfinished(record) else record

    def _sound_record(self, folder: Path) -> dict[str, Any] | None:
        try:
            return read_record(folder, folder.name)
        except Damaged as error:
            self.session.note_once(f"{error}: it counts as none")
            return None

    def failure_in(self, sweep: str | None) -> str | None:
        """Why the cell failed in a sweep; None where it did not, or none is given."""
        record = self._sound_record(self.folder)
        if sweep is None or record is None or record["status"] != "failed" or record.get("sweep") != sweep:
            return None
        return str(record["error"])

    @property
    def tracked(self) -> TrackedCell:
        """What a tracker gets to know."""
        return TrackedCell(self.id, str(self), self.recorded_config, self.folder, Path(self.settings.output_dir))

    def __str__(self) -> str:
        c = self.settings
        text = f"{c.model['name']} {c.task['name']} {c.variant['name']}"  # type: ignore[index]
        text += f" lr={format_lr(c.lr)} batch_size={c.batch_size} rank={c.rank} seed={c.seed}"
        text += "" if c.data_seed is None else f" data_seed={c.data_seed}"
        return f"{text} train_fraction={c.train_fraction:g}" if self.is_proxy else text


def _unfinished(record: dict[str, Any] | None) -> bool:
    return record is None or record["status"] == "failed"
