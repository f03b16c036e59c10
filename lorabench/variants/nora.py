"""NoRA: a small LoRA is trained inside a frozen one, which the principal part of the weight gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, matrix
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.mixed import Mixed
from lorabench.variants.lora import LoRA, uniform

ITERATIONS = 16  # of the randomised SVD, PiSSA's


@dataclass(kw_only=True)
class NoRA(LoRA):
    """y = (W + s·(U_q√Σ_q)·B·A·(√Σ_qV_qᵀ))x of W = UΣVᵀ; B [q, r], A [r, q] trained (Lin et al. 2024, arXiv 2408.10280).

    The outer factors, q = ``outer_rank``, stay frozen; of the inner ones A ~ U(±1/√q) and B = 0, LoRA's start, so that the
    function starts as the base's. W is left as it is. **Uncertain:** the authors' code is not published, and that Σ is split
    over both outer factors is PiSSA's way. It is saved as LoRA of rank r with the products of the inner and outer factors.

    >>> nora = NoRA(name="nora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], outer_rank=4)
    >>> nora.trainable_parameters({"layers.0.q_proj": (8, 6)})  # 2·(4 + 4)
    16

    Attributes:
        outer_rank: q, from ``rank`` to min(m, n) of every matrix.
    """

    version: ClassVar[int] = 1

    outer_rank: int

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; r ≤ q ≤ min(m, n)."""
        super().check(shapes)
        if self.outer_rank < self.rank:
            raise UserError(f"variant.outer_rank={self.outer_rank} is below rank={self.rank}, which is that of the LoRA inside")
        for name in self.targets(shapes):
            if self.outer_rank > min(shapes[name]):
                m, n = shapes[name]
                raise UserError(
                    f"variant.outer_rank={self.outer_rank} is larger than {name} ({m} x {n}) allows; "
                    f"use variant.outer_rank <= {min(m, n)}"
                )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with the outer factors around the inner ones."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            lora_A = layer.lora_A["default"].weight
            weight = matrix(layer.get_base_layer()).detach().float()
            a, b = svd.balanced(svd.from_cache(svd.randomized, weight, rank=self.outer_rank, iterations=ITERATIONS), 1.0)
            first = Mixed(a.to(lora_A), uniform(self.rank, self.outer_rank, self.outer_rank, generator))
            second = Mixed(lora_A.new_zeros(self.outer_rank, self.rank), b)
            for frozen in (first.factor, second.mixer):
                frozen.requires_grad_(False)
            layer.lora_A["default"], layer.lora_B["default"] = first, second
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values of the inner factors: 2qr a matrix."""
        return 2 * self.outer_rank * self.rank * len(self.targets(shapes))

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank r."""
        self.save_factors(model, path)
