"""What a run of ``python -m hessian`` is about: the model, its data, and the blocks that are asked for, checked and named."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from analysis.read import REFERENCE
from analysis.read.block import KIND, read_block
from hessian.passes import ATTENTION, Budget
from hessian.solve import Rule
from lorabench import models, records, seed
from lorabench.cache import file_hash
from lorabench.calibration import Calibration
from lorabench.cell import build
from lorabench.data import Corpus, Encoded, subset
from lorabench.errors import UserError, nearest
from lorabench.models import Base
from lorabench.schema import ModelConfig, TrainerConfig

if TYPE_CHECKING:
    from lorabench.tasks.base import Task
    from lorabench.variants.base import Variant

AUTO_LIMIT = 500
"""Most samples of samples=auto: paper 1's number (arXiv 2602.04998)."""

NAME = re.compile(r"\.layers\.(\d+)\..*?([^.]+)$")


@dataclass(frozen=True)
class Place:
    """A matrix of the model, or all that make up a joint block (then with the lowest layer)."""

    name: str
    layer: int
    matrix: str


class Study:
    """A resolved config and what follows from it; weights and data are loaded when first used."""

    def __init__(self, cfg: DictConfig):
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        self.config: dict[str, Any] = {str(key): value for key, value in resolved.items()}
        self.trained, self._cell = _cell(self.config["hessian"]["checkpoint"])
        if self._cell is not None:
            self.config |= {key: self._cell[key] for key in ("model", "task", "trainer", "rank", "seed")}
        self.model = ModelConfig(**self.config["model"])
        self.trainer = TrainerConfig(**self.config["trainer"])
        self.knobs: dict[str, Any] = self.config["hessian"]
        self._check()

    @cached_property
    def task(self) -> "Task":
        """The task whose training data are used."""
        return build(self.config["task"], "task")

    @cached_property
    def variants(self) -> "dict[str, tuple[Variant, dict[str, Any]]]":
        """The variants and their settings by name, the reference first; of a trained cell its own."""
        if self._cell is not None:
            return {self._cell["variant"]["name"]: (build(self._cell["variant"], "variant"), self._cell["variant"])}
        found = {}
        for name in dict.fromkeys([REFERENCE, *self.config["variants"]]):
            node = compose("config", [f"variant={name}", f"rank={self.config['rank']}"]).variant
            settings: Any = OmegaConf.to_container(node, resolve=True)
            found[name] = build(settings, "variant"), settings
        return found

    @cached_property
    def companions(self) -> "dict[str, tuple[Variant, dict[str, Any]]]":
        """Variants besides those asked for that have records of this study in the folder."""
        found = {}
        for file in Path(self.config["output_dir"]).glob("*.json"):
            identity = _checked(records.read(file)).get("identity", {})
            settings, name = identity.get("variant", {}), identity.get("name")
            mine = records.digest(self._common | {"variant": settings, "name": name}) == file.stem
            if mine and settings["name"] not in self.variants:
                found[settings["name"]] = build(settings, "variant"), settings
        return found

    def built(self, name: str) -> "tuple[Variant, dict[str, Any]]":
        """A variant that was asked for, or a companion, and its settings."""
        return self.variants[name] if name in self.variants else self.companions[name]

    @cached_property
    def _every(self) -> list[Place]:
        matches = ((name, NAME.search(name)) for name in models.linear_shapes(self.model))
        return [Place(name, int(match.group(1)), match.group(2)) for name, match in matches if match]

    @cached_property
    def _chosen(self) -> list[Place]:
        layers = self._layers({place.layer for place in self._every})
        adapted = set.intersection(*(set(variant.target_modules) for variant, _ in self.variants.values()))
        matrices = self._matrices({place.matrix for place in self._every}, adapted)
        return [place for place in self._every if place.layer in layers and place.matrix in matrices]

    @cached_property
    def places(self) -> list[Place]:
        """The blocks asked for, in the model's order: matrices, or all of them as one."""
        if self.config["blocks"] == "joint" and self._chosen:
            digest = records.digest([place.name for place in self._chosen])
            return [Place(f"joint {digest}", min(place.layer for place in self._chosen), "joint")]
        return self._chosen

    def members(self, place: Place) -> list[str]:
        """The matrices whose adapters make up the block."""
        if self.config["blocks"] == "each":
            return [place.name]
        return [each.name for each in self._chosen]

    @property
    def depth(self) -> int:
        """Number of decoder layers of the model."""
        return 1 + max(place.layer for place in self._every)

    @cached_property
    def base(self) -> Base:
        """The model in float32."""
        self.model.dtype = "float32"
        return models.load(self.model, models.resolve_device(self.config["device"]))

    @cached_property
    def corpus(self) -> Corpus:
        """The task's training texts, tokenised when asked for."""
        texts = [(self.task.prompt(example), self.task.target(example)) for example in self.task.train_examples()]
        return Corpus(texts, self.base.tokenizer, self.trainer.max_length)

    @cached_property
    def order(self) -> list[int]:
        """The samples, as a cell of this seed draws them: fewer are the head of more."""
        return subset(len(self.corpus), self.most_samples, seed.generator(self.config["seed"], "subset"))

    @property
    def most_samples(self) -> int:
        """The number of samples, or the limit of samples=auto."""
        available = len(self.task.train_examples())
        if self.config["samples"] == "auto":
            return min(AUTO_LIMIT, available)
        if self.config["samples"] > available:
            raise UserError(f"samples={self.config['samples']} is more than the {available} that task={self.task.name} has")
        return self.config["samples"]

    def examples(self, samples: int) -> list[Encoded]:
        """The first so many samples.

        Raises:
            UserError: a single one of them has target tokens, so that no interval can be told.
        """
        found = self.corpus.encode(self.order[:samples])
        if sum(example.target_tokens > 0 for example in found) == 1:
            raise UserError(
                f"one of {samples} samples has target tokens within trainer.max_length={self.trainer.max_length}, and an "
                "interval needs two; raise it, or samples"
            )
        return found

    @property
    def calibration(self) -> Calibration:
        """For variants that start from data: with samples=auto the most samples, of which they take the first."""
        return Calibration(self.corpus, self.order, self.trainer)

    @property
    def budget(self) -> Budget:
        """Memory, and how the data are cut."""
        held = int(self.knobs["memory_gb"] * 2**30)
        return Budget(held, self.trainer.micro_batch_tokens, self.trainer.max_padding)

    @property
    def rule(self) -> Rule:
        """When a Lanczos run ends."""
        return Rule(self.config["k"], self.knobs["tol"], self.knobs["max_iter"])

    @cached_property
    def _common(self) -> dict[str, Any]:
        c = self.config
        task = records.identity(c | {"evaluator": {"name": ""}, "variant": {}}, "", self.task.fingerprint())["task"]
        return {
            "model": models.fingerprint(self.model),
            "task": task,
            "max_length": self.trainer.max_length,
            "rank": c["rank"],
            "seed": c["seed"],
            "samples": c["samples"],
            "k": c["k"],
            "trained": file_hash(self.trained) if self.trained else None,
            "rule": {key: self.knobs[key] for key in ("tol", "max_iter", "attention")},
            "precision": self.knobs["precision"] if c["samples"] == "auto" else None,
        }

    def identity(self, variant: str, name: str) -> dict[str, Any]:
        """Everything that decides a block's numbers."""
        return self._common | {"variant": self.built(variant)[1], "name": name}

    def file(self, variant: str, name: str) -> Path:
        """Where the record of a block is."""
        return Path(self.config["output_dir"]) / f"{records.digest(self.identity(variant, name))}.json"

    def record(self, variant: str, name: str) -> dict[str, Any] | None:
        """The record of a block; None where there is none that this version reads."""
        return _checked(records.read(self.file(variant, name))) or None

    def _check(self) -> None:
        c, knobs = self.config, self.knobs
        models.check(self.model)
        if self.model.dtype == "bfloat16" and self.trained is None:
            raise UserError("model.dtype=bfloat16: second derivatives need float32; leave model.dtype out")
        for key, value in (("rank", c["rank"]), ("k", c["k"]), *((f"hessian.{key}", knobs[key]) for key in POSITIVE)):
            if not value > 0:
                raise UserError(f"{key}={value} must be greater than 0")
        if c["k"] >= knobs["max_iter"]:
            raise UserError(f"k={c['k']} eigenvalues take more than hessian.max_iter={knobs['max_iter']} products; raise it")
        if c["blocks"] not in ("each", "joint"):
            raise UserError(f"blocks={c['blocks']} is unknown; available: each, joint")
        if c["blocks"] == "joint" and "auto" in (c["samples"], c["layers"]):
            raise UserError("blocks=joint has one block, for which auto has no meaning; give samples and layers as numbers")
        if knobs["attention"] not in ATTENTION:
            raise UserError(
                f"hessian.attention={knobs['attention']} has no second derivative (fused kernels have none); "
                f"available: {', '.join(ATTENTION)}"
            )
        if c["samples"] != "auto" and not (isinstance(c["samples"], int) and c["samples"] >= 2):
            raise UserError(f"samples={c['samples']} must be a number of at least 2, or auto")
        if self.trained is not None and "auto" in (c["samples"], c["layers"]):
            raise UserError("hessian.checkpoint: auto compares with LoRA at the start; give samples and layers as numbers")
        if not self.config["variants"]:
            raise UserError("variants is empty; give names such as variants=[lora,pissa]")
        shapes = models.linear_shapes(self.model)
        for name, (variant, _) in self.variants.items():
            variant.check(shapes)
            if variant.dropout and self.trained is None:
                raise UserError(f"variant={name} has dropout={variant.dropout}, which makes the loss random; use dropout 0")
        if not self.places:
            raise UserError("matrices or layers is empty; leave it out for all")

    def _layers(self, known: set[int]) -> set[int]:
        asked = self.config["layers"]
        if asked in ("all", "auto"):
            return known
        chosen = asked if isinstance(asked, list) else [asked]
        for layer in chosen:
            if layer not in known:
                raise UserError(f"layers: the model has no layer {layer}; available: 0 … {max(known)}, all, auto")
        return set(chosen)

    def _matrices(self, known: set[str], adapted: set[str]) -> set[str]:
        asked = self.config["matrices"]
        if asked == "all":
            return known & adapted
        chosen = asked if isinstance(asked, list) else [asked]
        for matrix in chosen:
            if matrix not in known:
                raise UserError(f"matrices: the model has no linear layer '{matrix}'; {nearest(str(matrix), known)}")
            if matrix not in adapted:
                raise UserError(f"matrices: no adapter on '{matrix}'; available: {', '.join(sorted(known & adapted))}")
        return set(chosen)


def _checked(record: Any) -> dict[str, Any]:
    """A record of a block that this version reads, or nothing."""
    try:
        read_block(record)
    except ValueError:
        return {}
    return record if record.get("kind") == KIND else {}


def _cell(folder: str | None) -> tuple[Path | None, dict[str, Any] | None]:
    """The trained values and the config of a cell."""
    if folder is None:
        return None, None
    record = records.read(Path(folder) / "record.json")
    values = Path(folder) / "trained.safetensors"
    if record is None:
        raise UserError(f"hessian.checkpoint={folder} holds no record; give a cell's folder, such as runs/0123456789abcdef")
    if not values.exists():
        raise UserError(f"hessian.checkpoint={folder} holds no trained.safetensors; train the cell with save_adapter=true")
    return values, record["config"]


POSITIVE = ("tol", "max_iter", "memory_gb", "precision")
