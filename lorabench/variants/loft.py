"""LoFT: AdamW's moments live in the full matrix; A and B take turns in following its step."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA
from lorabench.variants.optimizers.loft import LoFTAdamW


@dataclass(kw_only=True)
class LoFT(LoRA):
    """y = (W + BA)x, started as LoRA; ΔA or ΔB by turns is AdamW's step on W, projected (Tastan et al. 2025, arXiv 2505.21289).

    The equations are in ``optimizers.loft``. The scale must be 1: the step is that of the full matrix, whatever alpha. Neither
    the authors' optimizer nor paper 1's runs of it are this update: docs/papers.md measures by how much.

    Attributes:
        eps: added to the root of the second moment, in place of the trainer's.
        damping: ε in (BᵀB + εI)⁻¹ and (AAᵀ + εI)⁻¹.
    """

    version: ClassVar[int] = 1

    eps: float
    damping: float

    def check(self, shapes: Shapes) -> None:
        """As for LoRA, with alpha = rank."""
        super().check(shapes)
        if self.alpha != self.rank:
            raise UserError(f"variant={self.name} needs alpha = rank={self.rank}; leave variant.alpha={self.alpha:g} out")
        for key in ("eps", "damping"):
            if not getattr(self, key) > 0:
                raise UserError(f"variant.{key}={getattr(self, key)} must be greater than 0")

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> LoFTAdamW:
        """LoFT's AdamW over the pairs of factors."""
        pairs = [(layer.lora_A["default"].weight, layer.lora_B["default"].weight) for _, layer in adapter_layers(model)]
        return LoFTAdamW(pairs, lr, **adamw | {"eps": self.eps, "damping": self.damping})

    def clip(self, model: PeftModel, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
        """Scale all gradients so that the full-space norm of the factor to be moved is at most ``max_norm``; return it."""
        assert isinstance(optimizer, LoFTAdamW), "the factor whose turn it is comes from the optimizer"
        norm = optimizer.full_norm()
        torch.nn.utils.clip_grads_with_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm, norm)
        return float(norm)

    def optimizer_bytes(self, shapes: Shapes) -> int:
        """Float32 state: m and the old factors as large as A and B, and P [n, r, r] for A, [m, r, r] for B."""
        factors = self.trainable_parameters(shapes)
        return 4 * (2 * factors + self.rank * factors)
