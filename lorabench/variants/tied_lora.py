"""Tied-LoRA: one trained A and B for all matrices of the same name, with trained scales in each."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.layers.shared import groups, layer_groups
from lorabench.variants.layers.stacked import Stacked
from lorabench.variants.lora import LoRA


@dataclass(kw_only=True)
class TiedLoRA(LoRA):
    """y_l = (W_l + s·Λ_v B Λ_u A)x, A and B one for all blocks l, Λ_u [r] and Λ_v [m] each l's (arXiv 2311.09578).

    Renduchintala et al. 2023: of their ways to tie and to freeze, the one that trains all four. A and B start as in LoRA and
    are one for the matrices of one name; Λ_u and Λ_v start as 1. It is saved as plain LoRA of rank r.

    >>> tied = TiedLoRA(name="tied_lora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"])
    >>> tied.trainable_parameters({"layers.0.q_proj": (8, 6), "layers.1.q_proj": (8, 6)})  # 2·(8 + 6) once, 2 + 8 twice
    48
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with the first layer's factors in all of its group, and scales after each."""
        adapted = super().attach(model, generator, calibration)
        for layers in layer_groups(adapted):
            a, b = layers[0].lora_A["default"].weight, layers[0].lora_B["default"].weight
            for layer in layers:
                layer.lora_A["default"] = Stacked([a], torch.ones(self.rank))
                layer.lora_B["default"] = Stacked([b], torch.ones(layer.out_features))
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values: r(m + n) once a group, r + m in each matrix."""
        total = 0
        for names in groups(self.targets(shapes), shapes):
            m, n = shapes[names[0]]
            total += self.rank * (m + n) + len(names) * (self.rank + m)
        return total

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA, with the scales in the factors."""
        self.save_factors(model, path)
