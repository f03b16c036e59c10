"""Upper bounds of λmax: against their equation, and as often exceeded as stated."""

import math

import pytest
import torch
from spectra import generator

from hessian import lanczos as module
from hessian.bound import outer_bound
from hessian.lanczos import lanczos


@pytest.mark.parametrize("max_iter", [1, 4, 14])
def test_the_upper_bound_covers(max_iter):
    values = torch.cat([torch.tensor([1.0]), torch.linspace(-2, 0.9, 299)]).double()
    bounds = [lanczos(lambda v: values * v, 300, generator=generator(seed), max_iter=max_iter).upper for seed in range(60)]
    assert sum(upper < 1 for upper in bounds) <= 3  # 0.6 are expected at most; more than 3 have a probability of 0.003


def test_the_upper_bound_is_sharp(monkeypatch):
    """After one product with a projection uuᵀ, λmax exceeds the bound just if |uᵀq₁| < c: as often as stated."""
    monkeypatch.setattr(module, "FAILURE", 0.4)  # 0.2 for the first start
    n, trials = 400, 400

    def matvec(vector):
        return torch.cat([vector[:1], torch.zeros(n - 1, dtype=torch.float64)])

    missed = sum(lanczos(matvec, n, generator=generator(seed), max_iter=1).upper < 1 for seed in range(trials))
    assert 0.15 <= missed / trials <= 0.25


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_the_outer_bound_solves_its_equation(size):
    diagonal = torch.randn(size, generator=generator(size), dtype=torch.float64) / 10
    beta = torch.rand(size, generator=generator(size + 1), dtype=torch.float64) / 10 + 0.5
    block = torch.diag(diagonal) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    x = outer_bound(block, float(beta[-1]), 1000, 0.01)
    before, p = 0.0, 1.0  # the three-term recurrence of the Lanczos polynomials
    for i in range(size):
        before, p = p, ((x - float(diagonal[i])) * p - (float(beta[i - 1]) * before if i else 0.0)) / float(beta[i])
    assert x > float(torch.linalg.eigvalsh(block)[-1])
    assert p * 0.01 / math.sqrt(2000 / math.pi) == pytest.approx(1, rel=1e-4)
