"""LoFT's authors' optimizer and the runs of paper 1, measured against the derivation that ``optimizers.loft`` follows (docs/papers.md).

The authors' update is written here from its formulas, in float64. Against the derivation, with B first and A second in a step:
P ← RᵀPR in place of RPRᵀ; where A has just moved, ∇_B, R_B and P_B are taken to the new A; ε is 1e-6 for A and 1e-8 for B; a factor
shrinks by (1 − weight_decay) when it moves, whatever lr.
"""

import pytest
import torch

from lorabench.variants.optimizers.loft import LoFTAdamW

M, N, RANK, LR, BETAS, EPS = 24, 20, 4, 1e-2, (0.9, 0.999), 1e-4


class Factor:
    """One factor X [r, p] of the product FX with the fixed F [q, r]; the other one by transposing everything."""

    def __init__(self, value, ridge):  # ε
        self.value, self.ridge = value, ridge
        r, p = value.shape
        self.m, self.second = torch.zeros_like(value), value.new_zeros(p, r, r)
        self.old = None

    def step(self, fixed, gradient, t, moves, transport, decay):
        gamma = torch.linalg.inv(fixed.T @ fixed + self.ridge * torch.eye(len(self.value), dtype=torch.float64))
        g = gamma @ gradient
        if self.old is not None:
            turn = gamma @ fixed.T @ self.old
            self.m = turn @ self.m
            side = turn if transport == "derived" else turn.T
            self.second = side @ self.second @ side.T
        self.old = fixed.clone()
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * g
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * g.T[:, :, None] * g.T[:, None, :]
        if moves:
            v = torch.einsum("ia,jab,ib->ij", fixed, self.second, fixed).clamp(min=0)
            u = (fixed @ self.m) / ((v / (1 - BETAS[1] ** t)).sqrt() + EPS)
            self.value = self.value * (1 - decay) - LR / (1 - BETAS[0] ** t) * gamma @ fixed.T @ u


def official(a, b, target, steps, transport="official", a_first=True, ridge_b=1e-8, decay=0.0):
    """BA [m, n] after so many steps on ½‖BA − target‖²; the gradients of both factors are those at the step's start."""
    first, second = Factor(a, 1e-6), Factor(b.T, ridge_b)
    for t in range(1, steps + 1):
        a, b = first.value, second.value.T
        residual = b @ a - target
        first.step(b, b.T @ residual, t, t % 2 == 0, transport, decay)
        seen = first.value if a_first else a
        second.step(seen.T, (residual @ a.T).T, t, t % 2 == 1, transport, decay)
    return second.value.T @ first.value


def ours(a, b, target, steps):
    """BA [m, n] by this project's optimizer."""
    a, b = torch.nn.Parameter(a.clone()), torch.nn.Parameter(b.clone())
    optimizer = LoFTAdamW([(a, b)], LR, BETAS, EPS, damping=1e-6)
    for _ in range(steps):
        residual = (b @ a - target).detach()
        a.grad, b.grad = (b.T @ residual).detach(), (residual @ a.T).detach()
        optimizer.step()
    return (b @ a).detach()


@pytest.fixture
def problem():
    """A from LoRA's start, B = 0, and a target of full rank."""
    generator = torch.Generator().manual_seed(0)
    a = (2 * torch.rand(RANK, N, generator=generator, dtype=torch.float64) - 1) / N**0.5
    return a, a.new_zeros(M, RANK), torch.randn(M, N, generator=generator, dtype=torch.float64)


def difference(x, y):
    return float((x - y).norm() / y.norm())


@pytest.mark.parametrize(("steps", "share"), [(1, 0.0), (2, 0.0), (3, 0.046), (10, 0.093), (200, 0.149)])
def test_so_far_is_the_authors_optimizer_from_the_derivation(problem, steps, share):
    """The writing above equals their code to 4e-14 over these steps (checked once, with their files at hand)."""
    assert difference(official(*problem, steps), ours(*problem, steps)) == pytest.approx(share, abs=1e-3)


def test_transport_and_order_are_all_of_it_but_the_ridge(problem):
    repaired = {"transport": "derived", "a_first": False}
    moved = ours(*problem, 200)
    assert difference(official(*problem, 200, transport="derived"), moved) > 5e-3
    assert difference(official(*problem, 200, a_first=False), moved) > 0.1
    assert difference(official(*problem, 200, **repaired), moved) < 1e-5
    assert difference(official(*problem, 200, **repaired, ridge_b=1e-6), moved) < 1e-11


def test_a_decay_that_is_not_times_lr_holds_the_product_back(problem):
    """Their default, which paper 1's call leaves: each factor times 0.99 whenever it moves, so 0.99¹⁰⁰ = 0.37 in 200 steps."""
    assert difference(official(*problem, 200, decay=0.01), official(*problem, 200)) == pytest.approx(0.289, abs=1e-3)


def test_flattened_by_zero_it_is_adamw_with_a_large_eps_and_a_decay_of_one_hundredth():
    """Without names of A and B the code takes its plain branch: m and v of the flat vector, p ← 0.99 p − lr·m̂ / (√v̂ + 1e-4)."""
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(300, generator=generator, dtype=torch.float64)
    plain, m, v = flat.clone(), torch.zeros_like(flat), torch.zeros_like(flat)
    adamw = torch.nn.Parameter(flat.clone())
    optimizer = torch.optim.AdamW([adamw], LR, BETAS, EPS, weight_decay=0.01 / LR)
    for t in range(1, 201):
        gradient = torch.randn(300, generator=generator, dtype=torch.float64) * 1e-3
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        plain = 0.99 * plain - LR / (1 - BETAS[0] ** t) * m / ((v / (1 - BETAS[1] ** t)).sqrt() + EPS)
        adamw.grad = gradient
        optimizer.step()
    assert difference(adamw.detach(), plain) < 1e-14
