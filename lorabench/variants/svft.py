"""SVFT: only what stands between the weight's own singular vectors is trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, matrix
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.banded import Banded
from lorabench.variants.lora import save_factors


@dataclass(kw_only=True)
class SVFT(Adapter):
    """y = U(Σ + M)Vᵀx of W = UΣVᵀ, M trained on its middle diagonals (Lingam et al. 2024, arXiv 2405.19597).

    U [m, k], Σ [k, k] and Vᵀ [k, n] with k = min(m, n) are W's and stay; M [k, k] starts at 0. With d off-diagonals on either
    side, d = 0 is the paper's "plain" and d > 0 its "banded": M_ij is trained where |i − j| ≤ d.

    k(2d + 1) − d(d + 1) values a matrix are trained. So ``rank`` and alpha are none of its settings: cells of another ``rank``
    repeat it. U and V take up to twice the memory of the matrices. It is saved as LoRA of rank k with the factors Vᵀ and UM.

    >>> svft = SVFT(name="svft", dropout=0.0, target_modules=["q_proj"], off_diagonals=1)
    >>> svft.trainable_parameters({"layers.0.q_proj": (8, 6)})  # 6, and twice 5
    16

    Attributes:
        off_diagonals: d, at most min(m, n) − 1 of every matrix, where M is full.
    """

    version: ClassVar[int] = 1

    rank: int = field(init=False, default=1, repr=False)
    alpha: float = field(init=False, default=1.0, repr=False)
    off_diagonals: int

    def check(self, shapes: Shapes) -> None:
        """As for every adapter; M must have as many diagonals."""
        super().check(shapes)
        if self.off_diagonals < 0:
            raise UserError(f"variant.off_diagonals={self.off_diagonals} must be at least 0")
        for name in self.targets(shapes):
            if self.off_diagonals >= (k := min(shapes[name])):
                m, n = shapes[name]
                raise UserError(
                    f"variant.off_diagonals={self.off_diagonals} is more than {name} ({m} x {n}) has; use at most {k - 1}"
                )

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Σ k(2d + 1) − d(d + 1) over the adapted matrices."""
        d = self.off_diagonals
        return sum(min(shapes[name]) * (2 * d + 1) - d * (d + 1) for name in self.targets(shapes))

    def peft_config(self) -> LoraConfig:
        """PEFT's LoRA layers of scale 1, whose factors ``attach`` replaces."""
        return LoraConfig(
            r=1,
            lora_alpha=1,
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's layers with the frozen Vᵀ in the place of A, and UM in that of B; the same for every seed."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            weight = matrix(layer.get_base_layer()).detach().float()
            u, _, vt = svd.from_cache(svd.largest, weight, rank=min(weight.shape))
            layer.lora_A["default"] = torch.nn.Linear(vt.shape[1], vt.shape[0], bias=False, device="meta")
            layer.lora_A["default"].weight = torch.nn.Parameter(vt, requires_grad=False)
            layer.lora_B["default"] = Banded(u, self.off_diagonals)
        return adapted

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank k, with Vᵀ and UM as its factors."""
        layers = dict(adapter_layers(model))
        factors = {name: (layer.lora_A["default"].weight, layer.lora_B["default"].weight) for name, layer in layers.items()}
        save_factors(model, factors, 1.0, path)
