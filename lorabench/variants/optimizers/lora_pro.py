"""LoRA-Pro's optimizer: AdamW on the gradient of W that A and B can follow (Wang et al. 2024, arXiv 2407.18242, AdamW version).

G = ∂L/∂W [m, n] is the full gradient at W + s·BA; training sees only ∇_A = s·BᵀG [r, n] and ∇_B = s·GAᵀ [m, r]. Moving A by
−lr·g_A and B by −lr·g_B moves W by −lr·g̃ to first order, with g̃ = s·B g_A + s·g_B A. Over all g_A and g_B, ‖g̃ − G‖ is least
for (theorem 2.1)

    g_A = Γ_A ∇_A / s² + X A                        [r, n]      Γ_A = (BᵀB + εI)⁻¹   [r, r]
    g_B = (I − B Γ_A Bᵀ) ∇_B Γ_B / s² − B X         [m, r]      Γ_B = (AAᵀ + εI)⁻¹   [r, r]

where X [r, r] does not change g̃. Each step

    g̃ = s·B g_A + s·g_B A                           [m, n]      the projection of G, with any X
    M ← β₁ M + (1 − β₁) g̃,   V ← β₂ V + (1 − β₂) g̃²   [m, n]
    U = M / (1 − β₁ᵗ) / (√(V / (1 − β₂ᵗ)) + eps)    [m, n]      AdamW's direction for W

    and with U in the place of G, so ∇_A = s·BᵀU and ∇_B = s·UAᵀ, g_A and g_B anew for the X that keeps them nearest to these:

    BᵀB X + X AAᵀ = −Γ_A ∇_A Aᵀ / s²                            (theorem 2.3)
    A ← (1 − lr·decay) A − lr·g_A,   B ← (1 − lr·decay) B − lr·g_B

At B = 0, as LoRA starts, ∇_A = 0 and so g_A = X = 0, and g_B = ∇_B Γ_B / s².

The authors' code has the bias correction of t + 1 in place of t, s = 2 whatever alpha and rank, V of a g̃ rounded to bfloat16,
and no weight decay, and it clips g_A and g_B by the norm of the raw gradients; here the raw gradients are clipped, as in LoRA,
before they enter M and V.

The state is kept per matrix: M and V, 8·m·n bytes in float32, as for full fine-tuning.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lorabench.variants.optimizers.pairs import Pair, evaluated, factors_of


class LoRAProAdamW(torch.optim.Optimizer):
    """AdamW on W + s·BA through both factors; the module holds the equations."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        lr: float,
        scale: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        damping: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        """Take the factors of all adapted matrices.

        Args:
            pairs: (lora_A [r, n], lora_B [m, r]) of every matrix.
            lr: learning rate, of W as much as of the factors.
            scale: s.
            betas: β₁, β₂.
            eps: added to √V.
            damping: ε of the inverses.
            weight_decay: decoupled, of the factors.
        """
        settings = {
            "lr": lr,
            "scale": scale,
            "betas": betas,
            "eps": eps,
            "damping": damping,
            "weight_decay": weight_decay,
            "step": 0,
        }
        super().__init__(factors_of(pairs), settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Advance the moments and move both factors."""
        loss = evaluated(closure)
        for group in self.param_groups:
            group["step"] += 1
            for lora_A, lora_B in zip(group["params"][::2], group["params"][1::2], strict=True):
                self._step(group, lora_A, lora_B)
        return loss

    def _step(self, group: dict[str, Any], lora_A: torch.nn.Parameter, lora_B: torch.nn.Parameter) -> None:
        """One step of one matrix; its state is kept with lora_A."""
        s, t, (beta1, beta2) = group["scale"], group["step"], group["betas"]
        projection = Projection(lora_A, lora_B, s, group["damping"])
        g_a, g_b = projection.factors(gradient_of(lora_A), gradient_of(lora_B))
        equivalent = s * (lora_B @ g_a + g_b @ lora_A)
        state = self.state[lora_A]
        if not state:
            state["M"], state["V"] = torch.zeros_like(equivalent), torch.zeros_like(equivalent)
        state["M"].lerp_(equivalent, 1 - beta1)
        state["V"].mul_(beta2).addcmul_(equivalent, equivalent, value=1 - beta2)
        u = state["M"] / (1 - beta1**t) / ((state["V"] / (1 - beta2**t)).sqrt_() + group["eps"])
        grad_a, grad_b = s * lora_B.T @ u, s * u @ lora_A.T
        x = projection.balance(grad_a)
        g_a, g_b = projection.factors(grad_a, grad_b)
        g_a, g_b = g_a + x @ lora_A, g_b - lora_B @ x
        for parameter, change in ((lora_A, g_a), (lora_B, g_b)):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=group["lr"])


class Projection:
    """What a pair of factors can follow of a gradient; r × r matrices are computed in float64, where ε is no rounding error."""

    def __init__(self, lora_A: torch.Tensor, lora_B: torch.Tensor, scale: float, damping: float):
        self.a, self.b, self.square = lora_A, lora_B, scale**2
        a, b = lora_A.double(), lora_B.double()
        self.of_b, self.basis_b = torch.linalg.eigh(b.T @ b)
        self.of_a, self.basis_a = torch.linalg.eigh(a @ a.T)
        self.gamma_a = self.basis_b / (self.of_b.clamp(min=0) + damping) @ self.basis_b.T
        self.gamma_b = self.basis_a / (self.of_a.clamp(min=0) + damping) @ self.basis_a.T

    def factors(self, grad_a: torch.Tensor, grad_b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """g_A [r, n] and g_B [m, r] for X = 0."""
        gamma_a, gamma_b = self.gamma_a.to(grad_a.dtype), self.gamma_b.to(grad_b.dtype)
        g_b = grad_b @ gamma_b
        return gamma_a @ grad_a / self.square, (g_b - self.b @ (gamma_a @ (self.b.T @ g_b))) / self.square

    def balance(self, grad_a: torch.Tensor) -> torch.Tensor:
        """X [r, r], in the eigenvectors of BᵀB and AAᵀ, where the equation is (λ_i + μ_j) X_ij = right_ij."""
        right = -self.gamma_a @ (grad_a @ self.a.T).double() / self.square
        rotated = self.basis_b.T @ right @ self.basis_a
        x = self.basis_b @ (rotated / (self.of_b[:, None] + self.of_a[None, :])) @ self.basis_a.T
        return x.to(grad_a.dtype)


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    """Its gradient; zero where the parameter took no part in the loss."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
