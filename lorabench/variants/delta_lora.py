"""Delta-LoRA: the weight itself moves along with each change of BA, too."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, matrix
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA

Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""A [r, n] and B [m, r] by module name."""


@dataclass(kw_only=True)
class DeltaLoRA(LoRA):
    """y = (W + s·BA)x; after each step W ← W + λ·s·(BA − (BA before the step)) (Zi et al. 2023, arXiv 2309.02411).

    W moves from step K = ⌈start · T⌉ of T on, without a gradient or moments of its own: it ends as W₀ + λ·s·(BA − B_KA_K), with
    B_KA_K as it was before that step. As in the paper, no input is dropped, so that the gradients of W and BA agree. Beside a
    bfloat16 base each move rounds W. It is saved as LoRA of rank 3r on the untouched base.

    Attributes:
        ratio: λ.
        start: share of the run's steps before which W stays.
    """

    version: ClassVar[int] = 1
    merges_while_training: ClassVar[bool] = True

    ratio: float
    start: float
    _first: Factors = field(default_factory=dict, init=False, repr=False, compare=False)
    _before: Factors = field(default_factory=dict, init=False, repr=False, compare=False)

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; λ is not negative, and ``start`` a share. Dropout would part the two gradients."""
        super().check(shapes)
        if not 0 <= self.ratio < float("inf"):
            raise UserError(f"variant.ratio={self.ratio} must be at least 0; the paper's is 2, and 0 is LoRA")
        if not 0 <= self.start < 1:
            raise UserError(f"variant.start={self.start} must lie in [0, 1)")
        if self.dropout:
            raise UserError(f"variant.dropout={self.dropout}: Delta-LoRA drops no input; leave it 0")

    @torch.no_grad()
    def before_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Remember the factors, once W moves."""
        self._before.clear()
        if step >= self.start * total:
            for name, layer in adapter_layers(model):
                pair = layer.lora_A["default"].weight.clone(), layer.lora_B["default"].weight.clone()
                self._before[name] = pair
                self._first.setdefault(name, (pair[0].cpu(), pair[1].cpu()))

    @torch.no_grad()
    def after_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Move W by λ times the change of s·BA."""
        for name, layer in adapter_layers(model):
            if name in self._before:
                a, b = (factor.float() for factor in self._before[name])
                lora_A, lora_B = layer.lora_A["default"].weight.float(), layer.lora_B["default"].weight.float()
                weight = matrix(layer.get_base_layer())
                weight.copy_(weight.float() + self.ratio * self.scale * (lora_B @ lora_A - b @ a))
        self._before.clear()

    def state(self, model: PeftModel) -> dict[str, Any]:
        """The factors of the step from which W moves; W is in the checkpoint itself."""
        return {"first": {name: list(pair) for name, pair in self._first.items()}}

    def load_state(self, model: PeftModel, state: dict[str, Any]) -> None:
        """Take them up again."""
        self._first.update({name: (a, b) for name, (a, b) in state["first"].items()})

    def save(self, model: PeftModel, path: Path) -> None:
        """As every LoRA whose base was changed: W₀ + s·BA + s·(λBA − λB_KA_K)."""
        self.initial.clear()
        for name, layer in adapter_layers(model):
            if name in self._first:
                a, b = (factor["default"].weight.detach().to("cpu", copy=True) for factor in (layer.lora_A, layer.lora_B))
                first_A, first_B = self._first[name]
                self.initial[name] = torch.cat([a, first_A]), self.ratio * torch.cat([-b, first_B], dim=1)
        super().save(model, path)

    def detach(self, model: PeftModel) -> None:
        """As every LoRA; the remembered factors are forgotten."""
        super().detach(model)
        self._first.clear()
        self._before.clear()
