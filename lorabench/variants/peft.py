"""PEFT: any method of PEFT by its configuration, tuned and measured as the others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTuner, check_target_module_exists
from transformers import PreTrainedModel

from lorabench.errors import UserError, nearest
from lorabench.models.shapes import Shapes
from lorabench.schema import decides_by
from lorabench.training.calibration import Calibration
from lorabench.variants import peft_types
from lorabench.variants.adapter import Adapter, fitted
from lorabench.variants.base import adapter_layers, base_parameters

DRAWS_FOR_NOTHING = ("LOHA", "LOKR")
"""Types whose layers draw a random number in each pass of training, also where nothing is dropped."""


@dataclass(kw_only=True)
class PEFT(Adapter):
    """The method ``peft_type``: PEFT's layers, start and merging (Mangrulkar et al. 2022, github.com/huggingface/peft).

    ``rank``, ``alpha``, ``dropout`` and ``target_modules`` reach the types that have them, as ``r`` and under their own names,
    and are set there alone, so that records and tables show what runs. A method whose update is no plain weights answers
    through the adapted model itself.

    Attributes:
        peft_type: one of ``peft.PeftType``; None where ``config`` is a file.
        config: settings of the type, or an ``adapter_config.json``.
        target_modules: names of the modules that it adapts; None for its own, or the seven linear matrices of a block.
    """

    version: ClassVar[int] = 1

    peft_type: str | None
    config: dict[str, Any] | str = field(metadata=decides_by(peft_types.stated))
    target_modules: list[str] | None  # type: ignore[assignment]
    linear_modules: list[str]

    @cached_property
    def _kind(self) -> Any:
        return peft_types.type_of(self.peft_type, self.config)

    @cached_property
    def _config(self) -> PeftConfig:
        kind, given = self._kind, {key: value for key, value in peft_types.stated(self.config).items() if key != "peft_type"}
        names = peft_types.fields_of(kind)
        self._refuse_twice(given)
        common: dict[str, Any] = dict.fromkeys(peft_types.ALPHAS, self.alpha)
        if kind.value not in peft_types.OWN_SIZE:
            common["r"] = self.rank
        if kind.value not in peft_types.NO_TARGETS:
            common["target_modules"] = self.linear_modules
        if self.target_modules is not None:
            given = {"target_modules": self.target_modules} | given
        if self.dropout:
            drops = [name for name in names if peft_types.common_name(name, kind) == "variant.dropout"]
            if not drops:
                raise UserError(f"variant.dropout={self.dropout}: {kind.value} drops no input; leave it 0")
            common |= dict.fromkeys(drops, self.dropout)
        return peft_types.make(kind, given, common)

    def _refuse_twice(self, given: dict[str, Any]) -> None:
        """What all variants have is set where they have it; what a file has of it must be what records and tables show."""
        shown = {"rank": self.rank, "variant.alpha": self.alpha, "variant.dropout": self.dropout}
        if self.target_modules is not None and set(given.get("target_modules", self.target_modules)) != set(
            self.target_modules
        ):
            modules = given["target_modules"]
            raise UserError(f"variant.config={self.config} has target_modules={modules}; leave variant.target_modules out")
        for key, stated in given.items():
            name = peft_types.common_name(key, self._kind)
            if name and not isinstance(self.config, str):
                raise UserError(f"variant.config.{key}={stated}: write {name}=… instead, which records and tables show")
            if name in shown and stated != shown[name]:
                raise UserError(f"variant.config={self.config} has {key}={stated}; write {name}={stated} too")

    def peft_config(self) -> PeftConfig:
        """The configuration of the type."""
        return self._config

    def targets(self, names: Iterable[str]) -> list[str]:
        """Those that PEFT would adapt."""
        chosen = getattr(self._config, "target_modules", None)
        if not chosen or not self._layered:
            return []
        names = list(names)
        return names if chosen == "all-linear" else [name for name in names if check_target_module_exists(self._config, name)]

    @property
    def _layered(self) -> bool:
        """Whether it puts layers into the model, beside or in the place of its own."""
        return hasattr(self._config, "target_modules") and self._kind.value != "ADAPTION_PROMPT"

    def touched(self, shapes: Shapes) -> list[str]:
        """All weights of the modules that it adapts."""
        modules = {name.rpartition(".")[0] for name in shapes.weights}
        chosen = set(self.targets(modules))
        return [name for name in shapes.weights if name.rpartition(".")[0] in chosen]

    def check(self, shapes: Shapes) -> None:
        """Raise UserError unless PEFT makes trained parameters of it on this model."""
        if reason := peft_types.LACKS.get(self._kind.value):
            raise UserError(f"variant.peft_type={self._kind.value} cannot be trained here: {reason}")
        self._check_common()
        modules = {name.rpartition(".")[0] for name in shapes.weights}
        for target in self.target_modules or ():
            if not any(module == target or module.endswith(f".{target}") for module in modules):
                leaves = {module.rpartition(".")[2] for module in modules}
                raise UserError(f"variant.target_modules: the model has no module '{target}'; {nearest(target, leaves)}")
        if (tried := self._tried(shapes)) is not None and not count(tried):
            raise UserError(f"variant.peft_type={self._kind.value} trains nothing on this model; see its settings")

    def _check_common(self) -> None:
        """What every adapter's settings must be, and the tokens and positions that a model has."""
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"variant.alpha={self.alpha} must be positive")
        if not 0 <= self.dropout < 1:
            raise UserError(f"variant.dropout={self.dropout} must lie in [0, 1)")
        for key, value in peft_types.stated(self.config).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
                raise UserError(f"variant.config.{key}={value} must not be negative")

    def _tried(self, shapes: Shapes) -> PeftModel | None:
        """The method on the model without weights; None of one that needs them for its start.

        Raises:
            UserError: PEFT refuses.
        """
        config = self._config
        try:
            with torch.device("meta"):
                model = shapes.skeleton()
                return get_peft_model(model, fitted(config, model, self.targets(shapes)))
        except Exception as error:  # each type has its own
            if "meta" in str(error).lower():
                return None
            raise UserError(f"variant.peft_type={self._kind.value}: {peft_types.first_sentence(error)}") from error

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Counted on the model without weights; 0 of a method that needs them for its start."""
        tried = self._tried(shapes)
        return 0 if tried is None else count(tried)

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As every adapter; what is drawn for nothing leaves the random numbers of training alone."""
        try:
            adapted = super().attach(model, generator, calibration)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # each type has its own
            raise UserError(f"variant.peft_type={self._kind.value}: {peft_types.first_sentence(error)}") from error
        drops: Any = self._config
        if self._kind.value in DRAWS_FOR_NOTHING and not (drops.rank_dropout or drops.module_dropout):
            for _, layer in adapter_layers(adapted):
                keep_generator(layer)
        return adapted

    @property
    def mergeable(self) -> bool:
        """Whether PEFT merges the type into weights that the base has."""
        return self._kind.value not in peft_types.NOT_MERGED

    def merged(self, model: PeftModel) -> dict[str, torch.Tensor]:
        """What PEFT's merging makes of the weights that it may change."""
        weights = base_parameters(model, dict(model.named_parameters()))
        inside = [f"{name}." for name, _ in adapter_layers(model)]
        before = {name: w.detach().clone() for name, w in weights.items() if name.startswith(tuple(inside))}
        tuner = model.base_model
        assert isinstance(tuner, BaseTuner)
        tuner.merge_adapter()
        now = base_parameters(model, dict(model.named_parameters()))
        merged = {name: now[name].detach().clone() for name in before}
        try:
            tuner.unmerge_adapter()
        except NotImplementedError:  # OSF: the values below are all that merging has changed
            for _, layer in adapter_layers(model):
                layer.merged_adapters.clear()
        now = base_parameters(model, dict(model.named_parameters()))
        with torch.no_grad():
            for name, weight in before.items():
                now[name].copy_(weight)  # exact, as unmerging is not
        return merged

    def save(self, model: PeftModel, path: Path) -> None:
        """As PEFT does."""
        model.save_pretrained(str(path), save_embedding_layers=False)

    def detach(self, model: PeftModel) -> None:
        """As every adapter; prompts stand beside the base and leave nothing in it."""
        if isinstance(model.base_model, BaseTuner):
            model.unload()
        elif self._kind.value == "ADAPTION_PROMPT":  # its attention is wrapped until it is disabled
            model.base_model.disable_adapter_layers()  # type: ignore[operator]


def count(model: torch.nn.Module) -> int:
    """Number of values that PEFT trains."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def keep_generator(layer: torch.nn.Module) -> None:
    """Let a layer's passes leave torch's global generators as they find them."""
    forward = layer.forward

    def kept(*args: Any, **kwargs: Any) -> Any:
        with torch.random.fork_rng():
            return forward(*args, **kwargs)

    layer.forward = kept  # type: ignore[method-assign]
