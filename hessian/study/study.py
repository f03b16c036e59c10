"""What a run of ``python -m hessian`` is about: the model, its data, and the blocks to be measured, checked and named."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from analysis.read import REFERENCE
from analysis.read.block import KIND, read_block
from hessian.blocks import Block, Place, choose, places_of
from hessian.settings import Solver
from hessian.study.schema import Config, HessianConfig
from lorabench.cells.parts import build, settings
from lorabench.cells.session import Session
from lorabench.errors import UserError
from lorabench.files import digest, file_hash, read_json
from lorabench.models import locate
from lorabench.models.base import Base
from lorabench.models.devices import resolve_device
from lorabench.models.fingerprint import fingerprint, fingerprint_of_schema_1
from lorabench.models.names import named
from lorabench.models.shapes import linear_shapes
from lorabench.records import legacy
from lorabench.records.environment import check_environment
from lorabench.records.foreign import check_foreign
from lorabench.records.identity import part_identity
from lorabench.records.kept import read_record
from lorabench.records.names import check_names
from lorabench.schema import ModelConfig, TrainerConfig
from lorabench.tasks.base import Task
from lorabench.training import seed
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus, Encoded, subset
from lorabench.variants import targets
from lorabench.variants.base import Variant

AUTO_LIMIT = 500
"""Most samples of samples=auto: paper 1's number (arXiv 2602.04998)."""


VERSION = 1
"""Of the measurement, raised whenever the same settings would give other numbers."""


@dataclass(frozen=True)
class Method:
    """A variant and the node of the config that it was built from."""

    variant: Variant
    node: dict[str, Any]

    @classmethod
    def of(cls, node: dict[str, Any], model: ModelConfig) -> "Method":
        """Build it for a model."""
        return cls(build(targets.resolved(node, partial(linear_shapes, model)), "variant", Variant), node)


class Study:
    """A resolved config and what follows from it; weights and data are loaded when first used.

    Args:
        cfg: composed, within Hydra's ``initialize``.
        session: what the process holds.
        searchpath: further places of configs, where variants of one's own are.
    """

    def __init__(self, cfg: DictConfig, session: Session, searchpath: Sequence[str] = ()):
        check_environment(cfg, ("output_dir", "device", "hydra"))
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        config = {str(key): value for key, value in resolved.items()}
        self.session, self._searchpath = session, list(searchpath)
        self.trained, self._cell = _cell(config["hessian"]["checkpoint"])
        if self._cell is not None:
            config |= {key: self._cell[key] for key in ("model", "task", "trainer", "rank", "seed")}
            config["data_seed"] = self._cell.get("data_seed")  # records of before have none
        config |= {"model": named(config["model"])}
        self.settings = settings(Config, config, "")
        self.hessian = settings(HessianConfig, config["hessian"], "hessian.")
        self.model = settings(ModelConfig, config["model"], "model.")
        self.trainer = settings(TrainerConfig, config["trainer"], "trainer.")
        self.solver = Solver(self.hessian, "hessian")
        check_names(config)
        self._check()

    @cached_property
    def task(self) -> Task:
        """The task whose training data are used."""
        return self.session.part(self.settings.task, "task", Task)

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The variants of the command line by name, the reference first; of a trained cell its own."""
        if self._cell is not None:
            return {self._cell["variant"]["name"]: Method.of(self._cell["variant"], self.model)}
        methods = {}
        for name in dict.fromkeys([REFERENCE, *self.settings.variants]):
            overrides = [f"variant={name}", f"rank={self.settings.rank}", f"hydra.searchpath={self._searchpath}"]
            node: Any = OmegaConf.to_container(compose("config", overrides).variant, resolve=True)
            methods[name] = Method.of(node, self.model)
        return methods

    @cached_property
    def companions(self) -> dict[str, Method]:
        """Variants besides ``methods`` that have records of this study in the folder."""
        methods = {}
        for file in Path(self.settings.output_dir).glob("*.json"):
            record = _readable_record(read_json(file))
            identity = record.get("identity", {})
            node = record.get("variant_config", identity.get("variant", {}))  # schema 1 had it in the identity alone
            if not {"_target_", "name"} <= node.keys() or node["name"] in self.methods:
                continue
            with contextlib.suppress(UserError):  # a class that is no longer there is no companion
                if self._file(node, identity["name"]) == file:
                    methods[node["name"]] = Method.of(node, self.model)
        return methods

    def method(self, name: str) -> Method:
        """One of ``methods`` or of ``companions``."""
        return self.methods[name] if name in self.methods else self.companions[name]

    @cached_property
    def _model_places(self) -> list[Place]:
        return places_of(linear_shapes(self.model))

    @cached_property
    def _chosen(self) -> list[Place]:
        names = list(linear_shapes(self.model))
        adapted = set.intersection(*(set(method.variant.targets(names)) for method in self.methods.values()))
        return choose(self._model_places, adapted, self.settings.matrices, self.settings.layers)

    @cached_property
    def places(self) -> list[Place]:
        """Where the blocks are, in the model's order: matrices, or all of them as one."""
        if self.settings.blocks == "joint":
            names = digest([place.name for place in self._chosen])
            return [Place(f"joint {names}", min(place.layer for place in self._chosen), "joint")]
        return self._chosen

    def members(self, place: Place) -> list[str]:
        """The matrices whose adapters make up the block."""
        if self.settings.blocks == "each":
            return [place.name]
        return [member.name for member in self._chosen]

    @property
    def depth(self) -> int:
        """Number of decoder layers of the model."""
        return 1 + max(place.layer for place in self._model_places)

    @cached_property
    def base(self) -> Base:
        """The model in float32."""
        self.model.dtype = "float32"
        return self.session.base(self.model, resolve_device(self.settings.device))

    @cached_property
    def corpus(self) -> Corpus:
        """The task's training texts, tokenised on demand."""
        return self.session.corpora(self.task, self._task_identity, self.base, self.trainer.max_length).train

    @cached_property
    def order(self) -> list[int]:
        """The samples, as a cell of this seed and data_seed draws them by chance: fewer are the head of more."""
        s = self.settings
        number = s.seed if s.data_seed is None else s.data_seed
        return subset(len(self.corpus), self.most_samples, seed.generator(number, "subset"))

    @property
    def most_samples(self) -> int:
        """The number of samples, or the limit of samples=auto."""
        samples, available = self.settings.samples, len(self.task.train_examples())
        if samples == "auto":
            return min(AUTO_LIMIT, available)
        if samples > available:
            raise UserError(f"samples={samples} is more than the {available} that task={self.task.name} has")
        return samples

    def examples(self, samples: int) -> list[Encoded]:
        """The first so many samples.

        Raises:
            UserError: a single one of them has target tokens, so that no interval can be told.
        """
        examples = self.corpus.encode(self.order[:samples])
        if sum(example.target_tokens > 0 for example in examples) == 1:
            raise UserError(
                f"one of {samples} samples has target tokens within trainer.max_length={self.trainer.max_length}, and an "
                "interval needs two; raise it, or samples"
            )
        return examples

    @property
    def calibration(self) -> Calibration:
        """For variants that start from data: with samples=auto the most samples, of which they take the first."""
        return Calibration(self.corpus, self.order, self.trainer)

    @cached_property
    def _task_identity(self) -> dict[str, Any]:
        return part_identity(self.settings.task) | {"fingerprint": self.task.fingerprint()}

    def _identity(self, node: dict[str, Any], name: str | None) -> dict[str, Any]:
        code = {"version": VERSION, "task": self._task_identity, "variant": part_identity(node)}
        return self._common | code | {"name": name}

    @cached_property
    def _common(self) -> dict[str, Any]:
        s = self.settings
        data = {} if s.data_seed is None else {"data_seed": s.data_seed}
        return data | {
            "model": {"fingerprint": fingerprint(self.model), "version": ModelConfig.version},
            "max_length": self.trainer.max_length,
            "rank": s.rank,
            "seed": s.seed,
            "samples": s.samples,
            "k": s.k,
            "trained": file_hash(self.trained) if self.trained else None,
            "rule": {key: getattr(self.hessian, key) for key in ("tol", "max_iter", "attention")},
            "precision": self.hessian.precision if s.samples == "auto" else None,
        }

    def identity(self, block: Block) -> dict[str, Any]:
        """Everything that decides a block's numbers."""
        return self._identity(self.method(block.variant).node, block.place.name)

    def file(self, block: Block) -> Path:
        """Where the record of a block is: under its id, or under that of schema 1 where it was measured then."""
        return self._file(self.method(block.variant).node, block.place.name)

    def record(self, block: Block) -> dict[str, Any] | None:
        """The record of a block; None where there is none that this version reads."""
        return _readable_record(read_json(self.file(block))) or None

    def _file(self, node: dict[str, Any], name: str) -> Path:
        folder, identity = Path(self.settings.output_dir), self._identity(node, name)
        file = folder / f"{digest(identity)}.json"
        if file.exists() or legacy.changed_part(identity):
            return file
        task = legacy.legacy_task(self.settings.task, self.task.fingerprint())
        parts = {"model": fingerprint_of_schema_1(self.model), "task": task, "variant": node, "name": name}
        earlier = folder / f"{digest(self._common | parts)}.json"
        return earlier if earlier.exists() else file

    def _check(self) -> None:
        s = self.settings
        locate.check(self.model)
        if self.model.quantization:
            raise UserError(f"model.quantization={self.model.quantization}: second derivatives need plain floats; leave it out")
        if self.model.dtype == "bfloat16" and self.trained is None:
            raise UserError("model.dtype=bfloat16: second derivatives need float32; leave model.dtype out")
        for key, value in (("rank", s.rank), ("k", s.k), ("hessian.precision", self.hessian.precision)):
            if not value > 0:
                raise UserError(f"{key}={value} must be greater than 0")
        if s.k >= self.hessian.max_iter:
            raise UserError(f"k={s.k} eigenvalues take more than hessian.max_iter={self.hessian.max_iter} products; raise it")
        if s.blocks not in ("each", "joint"):
            raise UserError(f"blocks={s.blocks} is unknown; available: each, joint")
        if s.blocks == "joint" and "auto" in (s.samples, s.layers):
            raise UserError("blocks=joint has one block, for which auto has no meaning; give samples and layers as numbers")
        if s.samples != "auto" and not (isinstance(s.samples, int) and s.samples >= 2):
            raise UserError(f"samples={s.samples} must be a number of at least 2, or auto")
        if self.trained is not None and "auto" in (s.samples, s.layers):
            raise UserError("hessian.checkpoint: auto compares with LoRA at the start; give samples and layers as numbers")
        if not s.variants:
            raise UserError("variants is empty; give names such as variants=[lora,pissa]")
        shapes = linear_shapes(self.model)
        for name, method in self.methods.items():
            method.variant.check(shapes)
            if (dropout := getattr(method.variant, "dropout", 0)) and self.trained is None:
                raise UserError(f"variant={name} has dropout={dropout}, which makes the loss random; use dropout 0")
        assert self.places


def _readable_record(record: Any) -> dict[str, Any]:
    """The record, where it is one of a block that this version reads; else an empty one."""
    try:
        read_block(record)
    except ValueError:
        return {}
    return record if record.get("kind") == KIND else {}


def _cell(folder: str | None) -> tuple[Path | None, dict[str, Any] | None]:
    """The trained values and the config of a cell."""
    if folder is None:
        return None, None
    record = read_record(Path(folder))
    values = Path(folder) / "trained.safetensors"
    if record is None:
        raise UserError(f"hessian.checkpoint={folder} holds no record; give a cell's folder, such as runs/0123456789abcdef")
    if not values.exists():
        raise UserError(f"hessian.checkpoint={folder} holds no trained.safetensors; train the cell with save_adapter=true")
    check_foreign(record["config"], Path(folder) / "record.json")
    return values, legacy.present_config(record["config"])
