"""LoFT's optimizer: AdamW on the whole matrix through steps of one low-rank factor (Tastan et al. 2025, arXiv 2505.21289).

G = ∂L/∂W [m, n] is the gradient at W + BA; training sees only ∇_A = BᵀG [r, n] and ∇_B = GAᵀ [m, r].

For A [r, n], with B_old the B of the step before, t = 1, 2 … and p_j column j of g_A:

    Γ_A = (BᵀB + εI)⁻¹                              [r, r]
    g_A = Γ_A ∇_A                                   [r, n]      B g_A = G projected on the columns of B
    R_A = Γ_A Bᵀ B_old                              [r, r]      coordinates in B_old → the nearest ones in B
    m_A ← β₁ R_A m_A + (1 − β₁) g_A                 [r, n]      B m_A is AdamW's first moment
    P_A[j] ← β₂ R_A P_A[j] R_Aᵀ + (1 − β₂) p_j p_jᵀ   [n, r, r]
    V_ij = b_i P_A[j] b_iᵀ                          [m, n]      b_i row i of B: AdamW's second moment
    U = B m_A / (√(V / (1 − β₂ᵗ)) + eps)            [m, n]
    ΔA = −lr / (1 − β₁ᵗ) · Γ_A Bᵀ U                 [r, n]      U projected on the columns of B

For B, the same for Wᵀ = … + AᵀBᵀ, that is with (A, B, G) → (Bᵀ, Aᵀ, Gᵀ); written out, with q_i row i of g_B:

    Γ_B = (AAᵀ + εI)⁻¹          g_B = ∇_B Γ_B [m, r]          R_B = Γ_B A A_oldᵀ
    m_B ← β₁ m_B R_Bᵀ + (1 − β₁) g_B                P_B[i] ← β₂ R_B P_B[i] R_Bᵀ + (1 − β₂) q_iᵀ q_i   [m, r, r]
    V_ij = a_jᵀ P_B[i] a_j      U = m_B A / (√(V / (1 − β₂ᵗ)) + eps)      ΔB = −lr / (1 − β₁ᵗ) · U Aᵀ Γ_B

Every step advances the moments of both factors and moves one of them: B at odd t, A at even t. Where the column spaces are
everything (B and A square and regular, ε = 0), BA follows AdamW on W to rounding.

The authors' code carries P over as RᵀPR, takes ∇_B to an A that has already moved, has ε = 1e-8 for B, and a weight decay
that is not times lr: fitting a matrix at lr 1e-2, BA differs by 9 % after 10 steps and 15 % after 200, and by 3e-6 with the
first two repaired (docs/papers.md; tests/lorabench/variants/test_loft_official.py).

The state is kept per matrix: m and the old factor, 4·r·(m + n) bytes each, and P, 4·r²·(m + n) bytes, in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lorabench.errors import UserError
from lorabench.variants.optimizers.pairs import Pair, evaluated, factors_of

WORKSPACE = 2**24  # values in the largest buffer (m × n, or P) of the matrices of one shape that are computed together


class LoFTAdamW(torch.optim.Optimizer):
    """AdamW on W + BA by steps of one factor, for adapters of scale 1; the module holds the equations."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-4,
        damping: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        """Take the factors of all adapted matrices.

        Args:
            pairs: (lora_A [r, n], lora_B [m, r]) of every matrix.
            lr: learning rate.
            betas: β₁, β₂.
            eps: added to √V.
            damping: ε of the inverses.
            weight_decay: decoupled as in AdamW: the moved factor, and with it BA, shrinks by the factor 1 − lr · weight_decay.

        Raises:
            UserError: the parameters are not such pairs, here or at a later step.
        """
        settings = {"lr": lr, "betas": betas, "eps": eps, "damping": damping, "weight_decay": weight_decay, "step": 0}
        super().__init__(factors_of(pairs), settings)
        for group in self.param_groups:
            stacks(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Advance the moments of both factors and move one of them."""
        loss = evaluated(closure)
        for group in self.param_groups:
            for pairs in stacks(group):
                self._step(group, pairs)
            group["step"] += 1
        return loss

    def _step(self, group: dict[str, Any], pairs: list[Pair]) -> None:
        """One step of a stack of matrices; its state is kept with the first lora_A."""
        t, (beta1, beta2), lr = group["step"] + 1, group["betas"], group["lr"]
        state, factor = self.state[pairs[0][0]], moving_factor(group)
        views = {side: view(pairs, side) for side in ("lora_A", "lora_B")}  # before the move: both factors' moments need both
        for side, (fixed, gradient) in views.items():
            if side not in state:
                state[side] = zero_moments(fixed, gradient)
            gamma = advance(state[side], fixed, gradient, group["betas"], group["damping"])
            if side == factor:
                u = full_update(state[side], fixed, 1 - beta2**t, group["eps"])
                delta = (gamma @ (fixed.mT @ u).double()).to(u.dtype).mul_(-lr / (1 - beta1**t))
        for pair, change in zip(pairs, delta, strict=True):
            parameter, change = (pair[0], change) if factor == "lora_A" else (pair[1], change.T)
            parameter.mul_(1 - lr * group["weight_decay"]).add_(change)

    @torch.no_grad()
    def full_norm(self) -> torch.Tensor:
        """The gradient's norm in the full space for the factor that moves next: √Σ‖B g_A‖² or √Σ‖g_B A‖² over the matrices."""
        squares = []
        for group in self.param_groups:
            for pairs in stacks(group):
                fixed, gradient = view(pairs, moving_factor(group))
                gram, gamma = inverse(fixed, group["damping"])
                g = gamma @ gradient.double()
                squares.append((g * (gram @ g)).sum())
        return torch.stack(squares).sum().sqrt()


def moving_factor(group: dict[str, Any]) -> str:
    """The factor that the next step moves; lora_B first, since it usually starts at 0."""
    return "lora_A" if group["step"] % 2 else "lora_B"


def stacks(group: dict[str, Any]) -> list[list[Pair]]:
    """The pairs of a parameter group in lists of one shape each, the same at every step."""
    params = group["params"]
    if (
        any(p.ndim != 2 for p in params)
        or len(params) % 2
        or any(a.shape[0] != b.shape[1] for a, b in zip(params[::2], params[1::2], strict=True))
    ):
        shapes = ", ".join(str(list(p.shape)) for p in params[:4])
        raise UserError(
            f"variant=loft: its optimizer needs lora_A [r, n] and lora_B [m, r] of every matrix, but got parameters of shape "
            f"{shapes} …; use an optimizer wrapper that keeps shapes (ZeRO's flattened partitions hide them)"
        )
    alike: dict[Any, list[Pair]] = {}
    for a, b in zip(params[::2], params[1::2], strict=True):
        alike.setdefault((a.shape, b.shape, a.device), []).append((a, b))
    parts = []
    for ((r, n), (m, _), _), pairs in alike.items():
        size = max(1, WORKSPACE // max(m * n, max(m, n) * r * r))
        parts += [pairs[i : i + size] for i in range(0, len(pairs), size)]
    return parts


def view(pairs: list[Pair], factor: str) -> Pair:
    """Stack the matrices and turn them so that ``factor`` takes the place of A in W + BA.

    Returns:
        The other factor [k, q, r] and the gradient of ``factor`` [k, r, p]: (q, p) is (m, n) for lora_A, (n, m) for lora_B.
    """
    if factor == "lora_A":
        return torch.stack([b for _, b in pairs]), torch.stack([gradient_of(a) for a, _ in pairs])
    return torch.stack([a.T for a, _ in pairs]), torch.stack([gradient_of(b).T for _, b in pairs])


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    """Its gradient; zero where the parameter took no part in the loss."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def inverse(fixed: torch.Tensor, damping: float) -> Pair:
    """FᵀF and Γ = (FᵀF + εI)⁻¹, both [k, r, r] in float64: with float32, rounding FᵀF could outweigh ε."""
    f = fixed.double()
    gram = f.mT @ f
    damped = gram + damping * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return gram, torch.linalg.inv_ex(damped).inverse


def zero_moments(fixed: torch.Tensor, gradient: torch.Tensor) -> dict[str, torch.Tensor]:
    """State of a factor before the first step: m [k, r, p], P [k, p, r, r], and the other factor at the last step [k, q, r]."""
    k, r, p = gradient.shape
    return {"m": torch.zeros_like(gradient), "P": gradient.new_zeros(k, p, r, r), "old": fixed}


def advance(
    state: dict[str, torch.Tensor], fixed: torch.Tensor, gradient: torch.Tensor, betas: tuple[float, float], damping: float
) -> torch.Tensor:
    """Carry m and P over to the current ``fixed`` factor [k, q, r], add the ``gradient`` [k, r, p], and return Γ [k, r, r]."""
    _, gamma = inverse(fixed, damping)
    r = (gamma @ (fixed.mT.double() @ state["old"].double())).to(fixed.dtype)
    g = (gamma @ gradient.double()).to(gradient.dtype)
    state["m"] = betas[0] * (r @ state["m"]) + (1 - betas[0]) * g
    # P is symmetric, so R P Rᵀ = (P Rᵀ)ᵀ Rᵀ: two large products instead of p small ones.
    shape = state["P"].shape
    half = (state["P"].flatten(1, 2) @ r.mT).view(shape)
    state["P"] = (half.mT.flatten(1, 2) @ r.mT).view(shape).mul_(betas[1])
    rows = g.mT
    state["P"].addcmul_(rows[..., :, None], rows[..., None, :], value=1 - betas[1])
    state["old"] = fixed
    return gamma


def full_update(state: dict[str, torch.Tensor], fixed: torch.Tensor, correction: float, eps: float) -> torch.Tensor:
    """U [k, q, p] = F m / (√(V / correction) + eps), V_ij = f_i P[j] f_iᵀ with f_i row i of ``fixed`` [k, q, r]."""
    squares = (fixed[..., :, None] * fixed[..., None, :]).flatten(2)
    v = squares @ state["P"].flatten(2).mT
    # Rounding can leave a V of 0 slightly negative.
    return (fixed @ state["m"]) / (v.clamp_(min=0).div_(correction).sqrt_() + eps)
