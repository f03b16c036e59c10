"""LoRA-One: the adapter starts as one low-rank step of full gradient descent."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.from_data import FromData, Start
from lorabench.variants.optimizers.preconditioned import PreconditionedAdamW

# The authors' code: a randomised SVD of 512 vectors, 16 power iterations.
WIDTH, ITERATIONS = 512, 16


@dataclass(kw_only=True)
class LoRAOne(FromData):
    """−∂loss/∂W = UΣVᵀ; A = √(Σ_r/γσ₁)·V_rᵀ, B = U_r·√(Σ_r/γσ₁), W stays (Zhang et al. 2025, arXiv 2502.01235).

    The function starts at W + s·BA on purpose: the best rank-r step of gradient descent, of spectral norm s/γ. s = alpha / rank
    as for the other variants; the authors' runs have s = 16/√r, which variant.alpha = 16·√r gives.

    The published runs train by AdamW. The paper's preconditioners, "if needed" in the authors' words, are AdamW on
    (BᵀB + λI)⁻¹∇_A and ∇_B(AAᵀ + λI)⁻¹: ``damping`` = λ switches them on, after clipping. Both take A and B from before the
    step; in the authors' first code A moves before B's is taken.

    Attributes:
        gamma: γ; the larger, the smaller the start.
        damping: λ of the preconditioners; None for AdamW alone.
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = False

    gamma: float
    damping: float | None

    def check(self, shapes: Shapes) -> None:
        """As for every start from data; γ and λ are positive."""
        super().check(shapes)
        if not 0 < self.gamma < math.inf:
            raise UserError(f"variant.gamma={self.gamma} must be positive")
        if self.damping is not None and not 0 < self.damping < math.inf:
            raise UserError(f"variant.damping={self.damping} must be positive, or null for AdamW without preconditioners")

    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """From the gradients; only the factors are kept of them."""
        for name, gradient in calibration.gradients(model, names, self.samples):
            yield name, self._start(name, gradient.to(model.device))

    def _start(self, name: str, gradient: torch.Tensor) -> Start:
        """A [r, n] and B [m, r] from G [m, n]."""
        width = min(max(WIDTH, self.rank), *gradient.shape)
        u, sigma, vt = (part.float() for part in svd.randomized(-gradient, width, ITERATIONS))
        if not (sigma[0] > 0 and sigma.isfinite().all()):
            raise UserError(
                f"variant={self.name}: the gradient of {name} on the samples is not a finite one other than 0; "
                "use more samples (variant.samples), with targets"
            )
        leading = u[:, : self.rank], sigma[: self.rank] / sigma[0], vt[: self.rank]
        return svd.balanced(leading, self.gamma)

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with B beside an unchanged W."""
        adapted = super().attach(model, generator, calibration)
        with torch.no_grad():
            for name, layer in adapter_layers(adapted):
                layer.lora_B["default"].weight.copy_(self._starts.pop(name)[1])
        return adapted

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, None]:
        """A alone: a B given here would be taken out of W."""
        return self._starts[name][0], None

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        """AdamW, preconditioned where ``damping`` is given."""
        if self.damping is None:
            return super().optimizer(model, lr, **adamw)
        pairs = [(layer.lora_A["default"].weight, layer.lora_B["default"].weight) for _, layer in adapter_layers(model)]
        return PreconditionedAdamW(pairs, lr, damping=self.damping, **adamw)
