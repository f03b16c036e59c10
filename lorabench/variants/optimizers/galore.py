"""GaLore's optimizer: AdamW in a subspace of each matrix's gradient (Zhao et al. 2024, arXiv 2403.03507, algorithm 2).

G = ∂L/∂W [m, n] is the gradient of a matrix, UΣVᵀ its singular value decomposition. Before step t = 1, T + 1, 2T + 1 …

    P = first r columns of U                          [m, r]   for m < n
    P = first r columns of V                          [n, r]   for m ≥ n: the smaller side is projected

and in each step, for m < n (for m ≥ n the same of Wᵀ and Gᵀ):

    R = PᵀG                                           [r, n]
    M ← β₁ M + (1 − β₁) R,   V ← β₂ V + (1 − β₂) R²   [r, n]
    N = M / (1 − β₁ᵗ) / (√(V / (1 − β₂ᵗ)) + eps)      [r, n]
    W ← (1 − lr·decay) W − lr·s·P N                   [m, n]

M and V stay as they are when P is renewed, although they belong to the coordinates of the one before, as in the paper and the
authors' code. That adds eps to √V before the bias correction, in place of after, and decays W after the step.

The state is kept per matrix, in float32: P, M and V, 4·r·(min(m, n) + 2·max(m, n)) bytes.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from lorabench.variants.optimizers.pairs import evaluated


class GaLoreAdamW(torch.optim.Optimizer):
    """AdamW on projected gradients of matrices; the module holds the equations."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        rank: int,
        update_proj_gap: int,
        scale: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        """Take the matrices.

        Args:
            params: W [m, n] each.
            lr: learning rate.
            rank: r, at most min(m, n).
            update_proj_gap: T.
            scale: s.
            betas: β₁, β₂.
            eps: added to √V.
            weight_decay: decoupled, of W.
        """
        own = {"rank": rank, "update_proj_gap": update_proj_gap, "scale": scale, "step": 0}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay} | own)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Renew the projectors where it is time, advance the moments and move the matrices."""
        loss = evaluated(closure)
        for group in self.param_groups:
            renews = group["step"] % group["update_proj_gap"] == 0
            group["step"] += 1
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(group, weight, weight.grad, renews)
        return loss

    def _step(self, group: dict[str, Any], weight: torch.Tensor, gradient: torch.Tensor, renews: bool) -> None:
        """One step of one matrix, turned so that its rows are the smaller side."""
        (beta1, beta2), t, lr = group["betas"], group["step"], group["lr"]
        turned = weight.shape[0] >= weight.shape[1]
        gradient = gradient.T if turned else gradient
        state = self.state[weight]
        if renews or not state:
            state["projector"] = projector(gradient, group["rank"])
        projected = state["projector"].T @ gradient
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(projected), torch.zeros_like(projected)
        state["exp_avg"].lerp_(projected, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(projected, projected, value=1 - beta2)
        denominator = (state["exp_avg_sq"] / (1 - beta2**t)).sqrt_().add_(group["eps"])
        change = state["projector"] @ (state["exp_avg"] / (1 - beta1**t) / denominator)
        weight.mul_(1 - lr * group["weight_decay"]).sub_(change.T if turned else change, alpha=lr * group["scale"])


def projector(gradient: torch.Tensor, rank: int) -> torch.Tensor:
    """The first ``rank`` left singular vectors [m, r] of a gradient [m, n] with m ≤ n."""
    return torch.linalg.svd(gradient, full_matrices=False).U[:, :rank].contiguous()
