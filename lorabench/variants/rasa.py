"""RaSA: each matrix gives a part of its rank to a pool, which all matrices of the same name use, weighed by each."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.layers.shared import groups, layer_groups
from lorabench.variants.layers.stacked import Stacked
from lorabench.variants.lora import LoRA, uniform


@dataclass(kw_only=True)
class RaSA(LoRA):
    """y_l = (W_l + [B_l B_S]·diag(e_l)·[A_l; A_S])x, A_S [kL, n], B_S [m, kL] one for all L blocks l (arXiv 2503.12576).

    He et al. 2025: A_l [r − k, n] and B_l are each matrix's own, e_l [r − k + kL] weighs the ranks. As in the authors' code,
    A's start as LoRA's, B's as 0, and e_l is the only scale: α/2(r − k) at the start for a matrix's own ranks, α/2kL for those
    of the pool. r(m + n) values a matrix are trained, as by LoRA, and e. It is saved as LoRA of rank r − k + kL.

    >>> rasa = RaSA(name="rasa", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], k=1)
    >>> rasa.trainable_parameters({"layers.0.q_proj": (8, 6), "layers.1.q_proj": (8, 6)})  # LoRA's 2·2·(8 + 6), and 2·3
    62

    Attributes:
        k: ranks that each matrix gives to the pool.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    k: int

    @property
    def scale(self) -> float:
        """1: e has the scale."""
        return 1.0

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; a matrix gives at least one rank, and keeps one. All must have as many blocks, for one rank to save."""
        super().check(shapes)
        if not 1 <= self.k < self.rank:
            raise UserError(f"variant.k={self.k} must be at least 1 and below rank={self.rank}")
        sizes = {len(names): names[0] for names in groups(self.targets(shapes), shapes)}
        if len(sizes) > 1:
            (first, one), (second, other), *_ = sizes.items()
            raise UserError(f"variant=rasa needs as many matrices of each name and shape; {one} has {first}, {other} {second}")

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with the pool of its group beside r − k ranks of each layer's own."""
        adapted = super().attach(model, generator, calibration)
        own = self.rank - self.k
        for layers in layer_groups(adapted):
            pool, n = self.k * len(layers), layers[0].in_features
            first, second = layers[0].lora_A["default"].weight, layers[0].lora_B["default"].weight
            pool_A = torch.nn.Parameter(uniform(pool, n, n, generator).to(first))
            pool_B = torch.nn.Parameter(second.new_zeros(len(second), pool))
            start = torch.cat([torch.full((own,), self.alpha / (2 * own)), torch.full((pool,), self.alpha / (2 * pool))])
            for layer in layers:
                lora_A = torch.nn.Parameter(layer.lora_A["default"].weight.detach()[:own].clone())
                lora_B = torch.nn.Parameter(layer.lora_B["default"].weight.detach()[:, :own].clone())
                layer.lora_A["default"] = Stacked([lora_A, pool_A], start)
                layer.lora_B["default"] = Stacked([lora_B, pool_B], dim=1)
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """LoRA's, and e: Σ r(m + n) + r − k + kL."""
        names = groups(self.targets(shapes), shapes)
        weights = sum(len(group) * (self.rank - self.k + self.k * len(group)) for group in names)
        return super().trainable_parameters(shapes) + weights

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA, e in the first factor."""
        self.save_factors(model, path)
