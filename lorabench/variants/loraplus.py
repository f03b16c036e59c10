"""LoRA+: B is trained at a multiple of A's learning rate."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.lora import LoRA


@dataclass(kw_only=True)
class LoRAPlus(LoRA):
    """y = (W + s·BA)x, started as LoRA; A is trained at lr and B at λ·lr (Hayou et al. 2024, arXiv 2402.12354).

    The cell's lr is A's, as in the authors' code and in PEFT's ``create_loraplus_optimizer``.

    Attributes:
        ratio: λ = η_B / η_A.
    """

    version: ClassVar[int] = 1

    ratio: float

    def check(self, shapes: Shapes) -> None:
        """As for LoRA, with a ratio that is a number above 0."""
        super().check(shapes)
        if not 0 < self.ratio < math.inf:
            raise UserError(f"variant.ratio={self.ratio} must be positive; the paper's is 16, and 1 is LoRA")

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        """AdamW with one group for each factor."""
        trained = self.trained(model)
        groups = [
            {"name": factor, "params": [p for name, p in trained.items() if factor in name], "lr": peak}
            for factor, peak in (("lora_A", lr), ("lora_B", self.ratio * lr))
        ]
        return torch.optim.AdamW(groups, lr=lr, fused=True, **adamw)
