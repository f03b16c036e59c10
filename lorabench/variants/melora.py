"""MELoRA: several small LoRAs side by side, each from a part of the inputs to a part of the outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.block_diagonal import BlockDiagonal
from lorabench.variants.lora import LoRA, uniform


@dataclass(kw_only=True)
class MELoRA(LoRA):
    """y = (W + s·diag(B_1 … B_k)·diag(A_1 … A_k))x, s = alpha / rank (Ren et al. 2024, arXiv 2402.17263).

    As in the paper, ``rank`` r is that of each mini LoRA, A_i [r, n/k] and B_i [m/k, r], so that r(m + n) values are trained,
    as by LoRA, and the update has a rank up to k·r, the "equivalent rank". A_i ~ U(±√(k/n)), as in the authors' code, B_i = 0.
    It is saved as LoRA of rank k·r with the zeros written out. k = 1 is LoRA.

    Attributes:
        k: number of mini LoRAs, the paper's n; divides both dimensions.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True
    bilinear: ClassVar[bool] = False

    k: int

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; k must divide m and n, and each block must have rank r."""
        super().check(shapes)
        if self.k < 1:
            raise UserError(f"variant.k={self.k} must be at least 1")
        for name in self.targets(shapes):
            m, n = shapes[name]
            if m % self.k or n % self.k:
                raise UserError(f"variant.k={self.k} does not divide the shape of {name} ({m} x {n}); use another k")
            if self.k * self.rank > min(m, n):
                raise UserError(
                    f"rank={self.rank}: {self.k} mini LoRAs have equivalent rank {self.k * self.rank}, and {name} ({m} x {n}) "
                    f"has {min(m, n)}; use rank <= {min(m, n) // self.k}, or variant.k <= {min(m, n) // self.rank}"
                )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's LoRA layers with block-diagonal factors."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            like, rows, columns = layer.lora_A["default"].weight, layer.out_features // self.k, layer.in_features // self.k
            first = uniform(self.k * self.rank, columns, columns, generator).view(self.k, self.rank, columns)
            layer.lora_A["default"] = BlockDiagonal(first.to(like))
            layer.lora_B["default"] = BlockDiagonal(like.new_zeros(self.k, rows, self.rank))
        return adapted

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank k·r: the block-diagonal factors as they are."""
        self.save_factors(model, path)
