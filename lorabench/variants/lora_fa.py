"""LoRA-FA: A stays as it was drawn, B alone is trained."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA

DAMPING = 1e-8  # of PEFT's optimizer


@dataclass(kw_only=True)
class LoRAFA(LoRA):
    """y = (W + s·BA)x, A frozen where LoRA starts, B = 0 and trained (Zhang et al. 2023, arXiv 2308.03303).

    >>> fields = {"rank": 2, "alpha": 4, "dropout": 0.0, "target_modules": ["q_proj"], "projected": False}
    >>> LoRAFA(name="lora_fa", **fields).trainable_parameters({"layers.0.q_proj": (8, 6)})  # 2·8 of LoRA's 2·(8 + 6)
    16

    Attributes:
        projected: give AdamW g_B = ∇_B (AAᵀ)⁻¹ / s² in place of ∇_B, as the paper's second version and PEFT's
            ``create_lorafa_optimizer`` do: s·g_B·A is nearest to the full gradient. Clipping comes before it, as in PEFT.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    projected: bool

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with A frozen."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            layer.lora_A["default"].weight.requires_grad_(False)
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values of B: Σ r·m."""
        return sum(self.rank * shapes[name][0] for name in self.targets(shapes))

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        """AdamW on B."""
        optimizer = super().optimizer(model, lr, **adamw)
        if self.projected:
            pairs = [(layer.lora_A["default"].weight, layer.lora_B["default"].weight) for _, layer in adapter_layers(model)]
            inverses = [(b, self._inverse(a)) for a, b in pairs]
            optimizer.register_step_pre_hook(lambda *_: _project(inverses))
        return optimizer

    def _inverse(self, lora_A: torch.Tensor) -> torch.Tensor:
        """(AAᵀ + εI)⁻¹ / s² [r, r] of A [r, n], in A's precision."""
        a = lora_A.detach().double()
        damped = a @ a.T + DAMPING * torch.eye(len(a), dtype=a.dtype, device=a.device)
        return (torch.linalg.inv(damped) / self.scale**2).to(lora_A.dtype)


def _project(inverses: list[tuple[torch.nn.Parameter, torch.Tensor]]) -> None:
    """Multiply the gradient [m, r] of every B by its [r, r] from the right."""
    for lora_B, inverse in inverses:
        if lora_B.grad is not None:
            lora_B.grad = lora_B.grad @ inverse
