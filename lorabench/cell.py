"""A cell: one point of the grid, with its parts built, checked and named."""

import math
import tempfile
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lorabench import models, records
from lorabench.errors import UserError, nearest
from lorabench.progress import number
from lorabench.schema import Config, ModelConfig, TrainerConfig, controls

if TYPE_CHECKING:
    from lorabench.generation.base import Generator
    from lorabench.models import Base
    from lorabench.subsets.base import Subset
    from lorabench.tasks.base import Task
    from lorabench.trackers.base import Tracker
    from lorabench.variants.base import Variant

_KEPT: dict[str, Any] = {}  # tasks and generators by their settings: loaded once, used by all cells of a process


def build(node: dict[str, Any], key: str) -> Any:
    """Instantiate a config node, with a one-line error where its keys do not fit."""
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{key}={node.get('name')}: cannot build {node.get('_target_')}: {reason}") from error


def kept(node: dict[str, Any], key: str) -> Any:
    """``build``, once a process for the same settings."""
    name = records.digest([key, node])
    if name not in _KEPT:
        _KEPT[name] = build(node, key)
    return _KEPT[name]


@dataclass(frozen=True)
class Cell:
    """A resolved config and what follows from it."""

    config: dict[str, Any]

    @classmethod
    def of(cls, cfg: DictConfig) -> "Cell":
        """Resolve a composed config."""
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        return cls({str(key): value for key, value in resolved.items() if key != "hydra"})

    @cached_property
    def model(self) -> ModelConfig:
        """The base model's settings."""
        return _settings(ModelConfig, self.config, "model")

    @cached_property
    def trainer(self) -> TrainerConfig:
        """The training loop's settings."""
        return _settings(TrainerConfig, self.config, "trainer")

    @cached_property
    def task(self) -> "Task":
        """The task; cells of one process share it and its data."""
        return kept(self.config["task"], "task")

    @cached_property
    def variant(self) -> "Variant":
        """The variant, built anew for every cell."""
        return build(self.config["variant"], "variant")

    @cached_property
    def generator(self) -> "Generator":
        """The text generator; cells of one process share it."""
        return kept(self.config["evaluator"], "evaluator")

    @cached_property
    def subset(self) -> "Subset":
        """What a proxy is trained on."""
        return build(self.config["subset"], "subset")

    @cached_property
    def tracker(self) -> "Tracker":
        """What follows the cell while it trains."""
        return build(self.config["tracker"], "tracker")

    @property
    def recorded_config(self) -> dict[str, Any]:
        """The config without what says how a process goes about it."""
        return {key: value for key, value in self.config.items() if key not in controls(Config)}

    @property
    def fraction(self) -> float:
        """The part of its samples that the cell is trained on; records of earlier versions do not name it."""
        return self.config.get("train_fraction", 1)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on which the cell is scored. Proxies are selected by validation; test is for what was selected."""
        return ("validation",) if self.fraction < 1 else ("validation", "test")

    @cached_property
    def probe(self) -> Any:
        """What ``hessian.every`` measures with; it lies outside this package and is known to the config alone."""
        return build(self.config["hessian"], "hessian")

    def base(self) -> "Base":
        """The loaded base model. Where it replaces another one, the generators let that one go first: both may not fit."""
        device = models.resolve_device(self.config["device"])
        if not models.is_loaded(self.model, device):
            close_generators()
        return models.load(self.model, device)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See ``records.identity``."""
        return records.identity(self.config, models.fingerprint(self.model), self.task.fingerprint())

    @cached_property
    def id(self) -> str:
        """The name of the cell's folder."""
        return records.digest(self.identity)

    @property
    def folder(self) -> Path:
        """Where the cell lives."""
        return Path(self.config["output_dir"]) / self.id

    def record(self) -> dict[str, Any] | None:
        """The record of an earlier run, None while there is none; a failed run is tried again."""
        found = records.read(self.folder / "record.json")
        return None if found and found["status"] == "failed" else found

    def __str__(self) -> str:
        c = self.config
        text = f"{c['model']['name']} {c['task']['name']} {c['variant']['name']}"
        text += f" lr={number(c['lr'])} batch_size={c['batch_size']} rank={c['rank']} seed={c['seed']}"
        return f"{text} train_fraction={self.fraction:g}" if self.fraction < 1 else text

    def check(self, resources: bool = True) -> None:
        """Raise UserError for anything in this cell that cannot work; ``resources`` asks for weights and data too."""
        c = self.config
        for key in c.keys() - {f.name for f in fields(Config)}:
            raise UserError(f"unknown key '{key}'; {nearest(key, [f.name for f in fields(Config)])}")
        if c["variant"].get("rank", c["rank"]) != c["rank"]:
            raise UserError(f"variant.rank={c['variant']['rank']} is not rank={c['rank']}; use rank={c['variant']['rank']}")
        for key in ("lr", "batch_size", "rank", "epochs"):
            if not 0 < c[key] < math.inf:
                raise UserError(f"{key}={c[key]} must be greater than 0 and finite")
        if c["train_samples"] is not None and c["train_samples"] < 1:
            raise UserError(f"train_samples={c['train_samples']} must be at least 1, or null for all")
        if not 0 < self.fraction <= 1:
            raise UserError(f"train_fraction={self.fraction} must lie in (0, 1]")
        assert self.subset  # built here: its settings are checked before anything is trained
        assert self.tracker
        if c["when_busy"] not in ("wait", "defer"):
            raise UserError(f"when_busy={c['when_busy']} is unknown; available: wait, defer")
        _check_trainer(self.trainer)
        models.check(self.model)
        assert self.generator  # built here: its settings are checked before anything is trained
        self.variant.check(models.linear_shapes(self.model))
        if c["hessian"]["every"] is not None:
            self._check_probe(resources)
        if not resources:
            return
        models.resolve_device(c["device"])
        self.generator.prepare()
        self.tracker.prepare()
        if self.model.weights != "random":
            models.locate(self.model)
        available = len(self.task.train_examples())
        if c["train_samples"] is not None and c["train_samples"] > available:
            raise UserError(f"train_samples={c['train_samples']} is more than the {available} that task={self.task.name} has")
        if not self.task.test_examples():
            raise UserError(f"task={self.task.name} has no test problem")

    def _check_probe(self, resources: bool) -> None:
        self.probe.check(self.variant.targets(models.linear_shapes(self.model)))
        dtype = self.model.dtype
        if resources and dtype == "auto":
            dtype = str(models.resolve_dtype(dtype, models.resolve_device(self.config["device"]))).removeprefix("torch.")
        if dtype == "bfloat16":
            raise UserError("hessian.every: second derivatives need float32, not bfloat16; use model.dtype=float32")


def _check_trainer(settings: TrainerConfig) -> None:
    for key in ("max_length", "max_grad_norm", "micro_batch_tokens"):
        if not getattr(settings, key) > 0:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must be greater than 0")
    for key in ("warmup_ratio", "max_padding"):
        if not 0 <= getattr(settings, key) < 1:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must lie in [0, 1)")
    for key in ("weight_decay", "eps", "checkpoint_minutes"):
        if not getattr(settings, key) >= 0:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must not be negative")
    if not all(0 <= beta < 1 for beta in settings.betas):
        raise UserError(f"trainer.betas={list(settings.betas)} must lie in [0, 1)")


def close_generators() -> None:
    """Free what the kept generators hold, the loaded model and engines of their own; they are loaded again when needed."""
    from lorabench.generation.base import Generator

    for built in _KEPT.values():
        if isinstance(built, Generator):
            built.close()


def check_output(folder: str) -> None:
    """Raise UserError unless records can be written to this folder."""
    if not folder.strip():
        raise UserError("output_dir is empty; give a folder")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"output_dir={folder} cannot be written ({error.strerror}); give another folder") from error


def _settings(kind: Any, config: dict[str, Any], group: str) -> Any:
    """A group's dataclass; OmegaConf lets `+GROUP.KEY` through."""
    known = [each.name for each in fields(kind)]
    if unknown := [key for key in config[group] if key not in known]:
        raise UserError(f"unknown key '{group}.{unknown[0]}'; {nearest(unknown[0], known)}")
    return kind(**config[group])
