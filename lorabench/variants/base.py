"""What a variant is: how it attaches trained parameters to a frozen model, steps them, and turns them into plain weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from lorabench.models.shapes import Shapes
from lorabench.terminal.bars import note
from lorabench.training.calibration import Calibration

Adapted = Any
"""A model with what a variant trains: PEFT's around the base, or the base itself."""

MERGED = "merged.safetensors"
"""Plain weights in place of an adapter, by their names in the base."""


@dataclass(kw_only=True)
class Variant(ABC):
    """A fine-tuning method; its fields are the keys of its yaml.

    Whatever a method overrides is what runs, what is measured, and what the record says:

    * the start: ``attach`` (for low-rank factors ``LoRA.factors`` alone);
    * what is trained: ``trained``, and ``touched`` where weights of the base are changed;
    * the step: ``optimizer``, whose groups keep their own peaks, ``clip``, ``before_step``, ``after_step``, and ``state``;
    * what comes out: ``merged`` and ``save``.

    Attributes:
        version: of the method's code, raised whenever the same settings would give other results. It is part of a cell's
            identity. A class that states none in its own body is told by the hash of its source file instead.
        bilinear: whether the layer computes (W + s·BA)x, starts as Wx, and trains A and B, so that the blocks' curvature has a
            short way (``hessian.products.leaves``).
        starts_on_quantised: whether it neither reads W, from its start to its last step, nor changes it before merging, so that
            a quantised W would do.
        merges_while_training: whether its hooks merge updates into the adapted matrices, which ``save`` then writes beside what
            is trained.
        name: as on the command line and in every table.
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = False
    starts_on_quantised: ClassVar[bool] = False
    merges_while_training: ClassVar[bool] = False

    name: str

    @abstractmethod
    def targets(self, names: Iterable[str]) -> list[str]:
        """Those of the linear layers' ``names`` in which it trains something: each is a block of the Hessian."""

    def touched(self, shapes: Shapes) -> list[str]:
        """Names of the base's weights that ``attach`` or training may change, of a model with these linear layers.

        They are remembered before and restored after the cell, and make up the merged weights.
        """
        return [f"{name}.weight" for name in self.targets(shapes)]

    def check(self, shapes: Shapes) -> None:
        """Raise UserError unless the variant fits a model with linear layers of these shapes (m, n)."""
        return

    def check_steps(self, total: int) -> None:
        """Raise UserError unless a run of ``total`` steps holds what the method plans by steps."""
        return

    @abstractmethod
    def attach(
        self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None
    ) -> PreTrainedModel | PeftModel:
        """Make ready to train; the function stays the same at the start unless the method says otherwise.

        Args:
            model: the frozen base; variants may change its weights so that the function stays the same.
            generator: the only source of randomness.
            calibration: the cell's training data, for variants that start from them.
        """

    def trained(self, model: Adapted) -> dict[str, torch.nn.Parameter]:
        """The parameters that training moves, by name; all others are frozen.

        They are what the optimizer gets, what is counted and kept in checkpoints, and whose curvature is measured.
        """
        return {name: p for name, p in model.named_parameters() if p.requires_grad}

    def train_only(self, model: Adapted) -> dict[str, torch.nn.Parameter]:
        """Let gradients reach what is ``trained`` and nothing else; return it."""
        trained = self.trained(model)
        chosen = {id(p) for p in trained.values()}
        for p in model.parameters():
            if p.requires_grad != (id(p) in chosen):
                p.requires_grad_(id(p) in chosen)
        return trained

    @abstractmethod
    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of trained values on a model with linear layers of these shapes."""

    def optimizer_bytes(self, shapes: Shapes) -> int:
        """Size of the optimizer's state: AdamW's two float32 moments for each trained value."""
        return 8 * self.trainable_parameters(shapes)

    def optimizer(self, model: Adapted, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        """The optimizer of what is ``trained``.

        Args:
            model: with the variant attached.
            lr: the cell's learning rate. A group's own ``lr`` is its peak: the schedule scales each group's from there. A
                ``name`` in a group is shown by records and trackers.
            adamw: betas, eps and weight_decay of the trainer.
        """
        return torch.optim.AdamW(list(self.trained(model).values()), lr=lr, fused=True, **adamw)

    def clip(self, model: Adapted, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
        """Scale the gradients so that their joint 2-norm is at most ``max_norm``; return the norm before."""
        return float(torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm))

    def before_step(self, model: Adapted, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Called before the gradient of step 0 … ``total`` − 1 is taken, with the groups' learning rates set for it.

        What it makes of the rates is what the step uses, and what records and trackers say.
        """
        return

    def after_step(self, model: Adapted, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Called when ``step`` of ``total`` steps are taken, the gradients still at hand."""
        return

    def penalty(self, model: Adapted) -> torch.Tensor | None:
        """A term of the parameters alone that each step adds to its loss; loss and scores are recorded without it."""
        return None

    def state(self, model: Adapted) -> dict[str, Any]:
        """What the hooks keep beside parameters and optimizer, for checkpoints: tensors, numbers, lists, dicts."""
        return {}

    def load_state(self, model: Adapted, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave, so that an interrupted run goes on to the same bits."""
        return

    @property
    def mergeable(self) -> bool:
        """Whether plain weights of the base hold all that it learns; else it answers through the adapted model itself."""
        return True

    @abstractmethod
    def merged(self, model: Adapted) -> dict[str, torch.Tensor]:
        """Plain weights by their names in the base, of all that is adapted or trained of it. The model is left as it was."""

    @abstractmethod
    def save(self, model: Adapted, path: Path) -> None:
        """Write a folder that plain PEFT, or transformers, loads to the same function."""

    @abstractmethod
    def detach(self, model: Adapted) -> None:
        """Leave the base as it was but for the values of its weights, which the caller restores."""


def save_merged(merged: dict[str, torch.Tensor], path: Path, why: str) -> None:
    """Write merged weights where no PEFT adapter holds what a method did, and say why."""
    path.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.detach().cpu().contiguous() for name, weight in merged.items()}, path / MERGED)
    note(f"{why}, which no PEFT adapter holds: {path / MERGED} has the merged weights instead")


def base_of(model: Adapted) -> Any:
    """The base in an adapted model, with PEFT's layers where they are."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def adapter_layers(model: Adapted) -> Iterator[tuple[str, Any]]:
    """Yield (name in the base model, PEFT layer) of every adapted matrix."""
    for name, module in base_of(model).named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module


def base_parameters(model: Adapted, parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    """Those of the parameters that are the base's own, by their names in the untouched base.

    PEFT puts a layer's adapters beside ``base_layer``, which holds what was the layer itself.
    """
    chosen = {id(p) for p in parameters.values()}
    base = base_of(model)
    beside = {id(p) for _, layer in adapter_layers(model) for name, p in layer.named_parameters() if "base_layer." not in name}
    named = ((name, p) for name, p in base.named_parameters() if id(p) in chosen and id(p) not in beside)
    return {name.replace(".base_layer.", "."): p for name, p in named}
