"""What a variant is: how it attaches trained parameters to a frozen model, steps them, and turns them into plain weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from lorabench.errors import UserError, nearest
from lorabench.terminal.bars import note
from lorabench.training.calibration import Calibration

MERGED = "merged.safetensors"
"""Plain weights in place of an adapter, by their names in the base."""


@dataclass(kw_only=True)
class Variant(ABC):
    """A fine-tuning method; its fields are the keys of its yaml.

    A weight W is [m, n] (out, in); A is [r, n] and B is [m, r]; the adapted layer computes (W + s·BA)x. Whatever a method
    overrides is what runs, what is measured, and what the record says:

    * the start: ``attach`` (for low-rank factors ``LoRA.factors`` alone);
    * what is trained: ``trained``, and ``touched`` where weights of the base are changed;
    * the step: ``optimizer``, whose groups keep their own peaks, ``clip``, ``before_step``, ``after_step``, and ``state``;
    * what comes out: ``merged`` and ``save``.

    Attributes:
        version: of the method's code, raised whenever the same settings would give other results. It is part of a cell's
            identity. A class that states none in its own body is told by the hash of its source file instead.
        bilinear: whether the layer computes (W + s·BA)x, starts as Wx, and trains A and B, so that the blocks' curvature has a
            short way (``hessian.products.leaves``).
        name: as on the command line and in every table.
        rank: r, at most min(m, n) of every matrix.
        alpha: the numerator of the scale s.
        dropout: probability with which the adapter's input is dropped in training.
        target_modules: names of the linear layers that get an adapter, in every block.
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = False

    name: str
    rank: int
    alpha: float
    dropout: float
    target_modules: list[str]

    def targets(self, names: Iterable[str]) -> list[str]:
        """Those of the module ``names`` that get an adapter."""
        return [name for name in names if name.rsplit(".", 1)[-1] in self.target_modules]

    def touched(self, names: Iterable[str]) -> list[str]:
        """Names of the base's weights that ``attach`` or training may change, of a model with these linear layers.

        They are remembered before and restored after the cell, and make up the merged weights.
        """
        return [f"{name}.weight" for name in self.targets(names)]

    def check(self, shapes: dict[str, tuple[int, int]]) -> None:
        """Raise UserError unless the variant fits linear layers of these shapes (m, n)."""
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"variant.alpha={self.alpha} must be positive")
        if not 0 <= self.dropout < 1:
            raise UserError(f"variant.dropout={self.dropout} must lie in [0, 1)")
        if not self.target_modules:
            raise UserError("variant.target_modules is empty; name the linear layers that get an adapter")
        leaves = {name.rsplit(".", 1)[-1] for name in shapes}
        for module in self.target_modules:
            if module not in leaves:
                raise UserError(f"variant.target_modules: the model has no linear layer '{module}'; {nearest(module, leaves)}")
        for name in self.targets(shapes):
            if self.rank > min(shapes[name]):
                m, n = shapes[name]
                raise UserError(f"rank={self.rank} is larger than {name} ({m} x {n}) allows; use rank <= {min(m, n)}")

    @abstractmethod
    def peft_config(self) -> PeftConfig:
        """The PEFT configuration whose layers carry this variant's parameters."""

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add the trained parameters; the function stays the same at the start unless the method says otherwise.

        Args:
            model: the frozen base; variants may change its weights so that the function stays the same.
            generator: the only source of randomness.
            calibration: the cell's training data, for variants that start from them.
        """
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return get_peft_model(model, self.peft_config())

    def trained(self, model: PeftModel) -> dict[str, torch.nn.Parameter]:
        """The parameters that training moves, by name; all others are frozen.

        They are what the optimizer gets, what is counted and kept in checkpoints, and whose curvature is measured.
        """
        return {name: p for name, p in model.named_parameters() if p.requires_grad}

    def train_only(self, model: PeftModel) -> dict[str, torch.nn.Parameter]:
        """Let gradients reach what is ``trained`` and nothing else; return it."""
        trained = self.trained(model)
        chosen = {id(p) for p in trained.values()}
        for p in model.parameters():
            if p.requires_grad != (id(p) in chosen):
                p.requires_grad_(id(p) in chosen)
        return trained

    def trainable_parameters(self, shapes: dict[str, tuple[int, int]]) -> int:
        """Number of trained values: Σ r(m + n) over the adapted matrices for a pair of low-rank factors."""
        return sum(self.rank * sum(shapes[name]) for name in self.targets(shapes))

    def optimizer_bytes(self, shapes: dict[str, tuple[int, int]]) -> int:
        """Size of the optimizer's state: AdamW's two float32 moments for each trained value."""
        return 8 * self.trainable_parameters(shapes)

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        """The optimizer of what is ``trained``.

        Args:
            model: with the variant attached.
            lr: the cell's learning rate. A group's own ``lr`` is its peak: the schedule scales each group's from there. A
                ``name`` in a group is shown by records and trackers.
            adamw: betas, eps and weight_decay of the trainer.
        """
        return torch.optim.AdamW(list(self.trained(model).values()), lr=lr, fused=True, **adamw)

    def clip(self, model: PeftModel, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
        """Scale the gradients so that their joint 2-norm is at most ``max_norm``; return the norm before."""
        return float(torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm))

    def before_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Called before the gradient of step 0 … ``total`` − 1 is taken, with the groups' learning rates set for it.

        What it makes of the rates is what the step uses, and what records and trackers say.
        """
        return

    def after_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Called when ``step`` of ``total`` steps are taken, the gradients still at hand."""
        return

    def state(self, model: PeftModel) -> dict[str, Any]:
        """What the hooks keep beside parameters and optimizer, for checkpoints: tensors, numbers, lists, dicts."""
        return {}

    def load_state(self, model: PeftModel, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave, so that an interrupted run goes on to the same bits."""
        return

    def merged(self, model: PeftModel) -> dict[str, torch.Tensor]:
        """Plain weights by their names in the base, of all adapted matrices and of what of the base is trained.

        The model is left as it was.
        """
        merged = {}
        for name, layer in adapter_layers(model):
            weight = layer.get_base_layer().weight
            before = weight.detach().clone()
            layer.merge()
            merged[f"{name}.weight"] = weight.detach().clone()
            # Copying back is exact; PEFT's unmerge subtracts and leaves rounding errors.
            weight.data.copy_(before)
            layer.merged_adapters.clear()
        trained = base_parameters(model, self.trained(model))
        return merged | {name: p.detach().clone() for name, p in trained.items() if name not in merged}

    def save(self, model: PeftModel, path: Path) -> None:
        """Write a folder that plain ``PeftModel.from_pretrained(untouched base, path)`` loads to the same function.

        Where weights of the base are trained, which no PEFT adapter holds, it gets the merged weights, and a line says so.
        """
        if trained := base_parameters(model, self.trained(model)):
            return save_merged(self.merged(model), path, f"variant={self.name} trains {next(iter(trained))} of the base")
        model.save_pretrained(str(path), save_embedding_layers=False)

    def detach(self, model: PeftModel) -> None:
        """Take the adapters out of the base again; base weights that ``attach`` changed stay changed."""
        model.unload()


def save_merged(merged: dict[str, torch.Tensor], path: Path, why: str) -> None:
    """Write merged weights where no PEFT adapter holds what a method did, and say why."""
    path.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.detach().cpu().contiguous() for name, weight in merged.items()}, path / MERGED)
    note(f"{why}, which no PEFT adapter holds: {path / MERGED} has the merged weights instead")


def adapter_layers(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """Yield (name in the base model, PEFT layer) of every adapted matrix."""
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module


def base_parameters(model: PeftModel, parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    """Those of the parameters that are the base's own, by their names in the untouched base.

    PEFT puts a layer's adapters beside ``base_layer``, which holds what was the layer itself.
    """
    chosen = {id(p) for p in parameters.values()}
    base = model.get_base_model()
    beside = {id(p) for _, layer in adapter_layers(model) for name, p in layer.named_parameters() if "base_layer." not in name}
    named = ((name, p) for name, p in base.named_parameters() if id(p) in chosen and id(p) not in beside)
    return {name.replace(".base_layer.", "."): p for name, p in named}
