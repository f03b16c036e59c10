"""Eigenvalues of many blocks at once: their Lanczos runs ask together, so that a graph is built once for all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hessian.jackknife import SUBSPACE
from hessian.lanczos import LanczosResult, lanczos_steps
from hessian.operator import Hessian

if TYPE_CHECKING:
    import torch

BASIS = 24
"""Vectors that a run holds as a rule: two starts of at least twelve products."""


@dataclass(frozen=True)
class Rule:
    """When a run ends.

    Attributes:
        k: number of largest eigenvalues.
        tol: relative tolerance, see ``hessian.lanczos``.
        max_iter: most products of a block.
    """

    k: int
    tol: float
    max_iter: int


@dataclass(frozen=True)
class Solved:
    """A block's eigenvalues, and every sequence's part in the largest ones.

    Attributes:
        result: of Lanczos.
        parts: VᵀH_i·V [sequences, p, p] with Σ H_i = H and V the top Ritz vectors.
    """

    result: LanczosResult
    parts: "torch.Tensor"


def solve(hessian: Hessian, blocks: Sequence[Any], generators: "Sequence[torch.Generator]", rule: Rule) -> Iterator[Solved]:
    """Solve the blocks; yields in their order.

    Together are as many as have room for their bases in the budget; where all graphs are kept, only neighbours on the same
    matrix, which alone are faster so.
    """
    groups: list[list[int]] = []
    held = 0
    for index, block in enumerate(blocks):
        size = 8 * block.size * min(BASIS, rule.max_iter)
        alike = hessian.kept < 1.0 or (index > 0 and block.name == blocks[index - 1].name)
        if groups and alike and held + size <= hessian.budget.bytes:
            groups[-1].append(index)
            held += size
        else:
            groups.append([index])
            held = size
    for group in groups:
        results = lockstep(hessian, [blocks[i] for i in group], [generators[i] for i in group], rule)
        parts = hessian.parts([blocks[i] for i in group], [result.vectors for result in results])
        yield from map(Solved, results, parts)


def lockstep(
    hessian: Hessian, blocks: "Sequence[Any]", generators: "Sequence[torch.Generator]", rule: Rule
) -> list[LanczosResult]:
    """Let all runs that are not finished ask for one product each, until none is left."""
    import torch

    runs = [
        lanczos_steps(
            block.size, k=rule.k, keep=SUBSPACE, max_iter=rule.max_iter, tol=rule.tol, generator=draws, dtype=torch.float32
        )
        for block, draws in zip(blocks, generators, strict=True)
    ]
    asked = {index: next(run) for index, run in enumerate(runs)}
    results: dict[int, LanczosResult] = {}
    while asked:
        products = hessian.products([blocks[i] for i in asked], list(asked.values()))
        answers = dict(zip(asked, products, strict=True))
        asked = {}
        for index, product in answers.items():
            try:
                asked[index] = runs[index].send(product)
            except StopIteration as finished:
                results[index] = finished.value
    return [results[index] for index in range(len(blocks))]
