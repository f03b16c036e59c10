"""Many blocks solved together: order, memory, and what an interruption leaves."""

import types

import pytest
import torch

from hessian.products.passes import Budget
from hessian.solve import Rule, solve
from lorabench.errors import UserError


class Interrupted(Exception):
    pass


class Dense:
    """A Hessian of known matrices, of which no graph is kept."""

    kept = 0.0

    def __init__(self, matrices, bytes=2**30, most_products=1000):
        self.blocks = [types.SimpleNamespace(name=f"block {i}", size=len(m), matrix=m) for i, m in enumerate(matrices)]
        self.budget, self.left = Budget(bytes, 8192, 0.1), most_products

    def products(self, blocks, vectors):
        self.left -= 1
        if self.left < 0:
            raise Interrupted
        return [block.matrix @ vector.double() for block, vector in zip(blocks, vectors, strict=True)]

    def parts(self, blocks, vectors):
        return [(v.T @ block.matrix @ v)[None] for block, v in zip(blocks, vectors, strict=True)]

    def solve(self, rule=None):
        generators = [torch.Generator().manual_seed(i) for i in range(len(self.blocks))]
        return solve(self, self.blocks, generators, rule or Rule(1, 1e-3, 100))


def matrices():
    """Three that end after 15, some 45 and 14 products."""
    outlier = torch.diag(torch.cat([torch.tensor([1.0]), torch.linspace(-0.1, 0.1, 99)])).double()
    return [outlier, torch.diag(torch.linspace(-1, 1, 100)).double(), 2 * outlier]


def test_results_come_in_order_with_their_parts():
    solutions = list(Dense(matrices()).solve())
    assert [solution.result.eigenvalues[0] for solution in solutions] == pytest.approx([1, 1, 2], rel=2e-3)
    for solution in solutions:
        assert torch.linalg.eigvalsh(solution.parts[0])[-1] == pytest.approx(solution.result.eigenvalues[0], rel=1e-6)
    counts = [solution.result.iterations for solution in solutions]
    assert counts[0] < counts[1] > counts[2]  # so that the next test is one


def test_what_has_ended_is_given_before_the_slow_ones_end():
    given = Dense(matrices(), most_products=20).solve()
    assert next(given).result.eigenvalues[0] == pytest.approx(1)
    with pytest.raises(Interrupted):
        next(given)


def test_a_basis_that_does_not_fit_is_one_line_before_the_first_product():
    hessian = Dense(matrices(), bytes=23 * 8 * 100, most_products=0)
    line = r"^hessian\.memory_gb=1\.71e-05 holds 23 Lanczos vectors of the 100 values of block 0, which needs 24; raise it"
    with pytest.raises(UserError, match=line):
        next(hessian.solve())
    assert next(Dense(matrices(), bytes=23 * 8 * 100).solve(Rule(1, 1e-3, 20))).result.converged  # no more than 20 are needed


def test_a_basis_that_just_fits_ends_there_and_says_so(capsys):
    [_, slow, _] = Dense(matrices(), bytes=30 * 8 * 100).solve()
    assert slow.result.iterations == 30
    assert not slow.result.converged
    assert "holds 30 Lanczos vectors of the 100 values of block 1: it gets no more" in capsys.readouterr().err
