"""AdamW on preconditioned gradients of low-rank factors (Zhang and Pilanci 2024, arXiv 2402.02347).

    g_A = (BᵀB + λI)⁻¹ ∇_A   [r, n]          g_B = ∇_B (AAᵀ + λI)⁻¹   [m, r]

take the place of ∇_A and ∇_B in AdamW; both have A and B from before the step. State and its size are AdamW's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lorabench.variants.optimizers.pairs import Pair, evaluated, factors_of


class PreconditionedAdamW(torch.optim.AdamW):
    """See the module."""

    def __init__(self, pairs: Sequence[Pair], lr: float, damping: float, **adamw: Any):
        """Take (lora_A [r, n], lora_B [m, r]) of every matrix, λ, and AdamW's settings."""
        super().__init__(factors_of(pairs), lr=lr, fused=True, **adamw)
        self.pairs, self.damping = pairs, damping

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """AdamW's step; the gradients are afterwards those of before."""
        loss = evaluated(closure)
        factors = factors_of(self.pairs)
        gradients = [factor.grad for factor in factors]
        for a, b in self.pairs:
            if a.grad is not None and b.grad is not None:
                for_a, for_b = solve(b.T, self.damping, a.grad), solve(a, self.damping, b.grad.T).T
                # The fused kernel takes gradients to lie in memory as the parameters do.
                a.grad, b.grad = for_a.contiguous(), for_b.contiguous()
        super().step()
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.grad = gradient
        return loss


def solve(rows: torch.Tensor, damping: float, gradient: torch.Tensor) -> torch.Tensor:
    """(FFᵀ + λI)⁻¹ ∇ for F [r, q] and ∇ [r, k], in float64: in float32, rounding FFᵀ could outweigh λ."""
    rows = rows.double()
    damped = rows @ rows.T + damping * torch.eye(len(rows), dtype=torch.float64, device=rows.device)
    return torch.linalg.solve(damped, gradient.double()).to(gradient.dtype)
