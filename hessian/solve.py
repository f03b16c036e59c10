"""Eigenvalues of many blocks at once: their Lanczos runs ask together, so that a graph is built once for all."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hessian.jackknife import SUBSPACE
from hessian.lanczos import MIN_STEPS, LanczosResult, lanczos_steps
from hessian.products.operator import Hessian
from lorabench.errors import UserError
from lorabench.terminal.bars import note

BASIS = 2 * MIN_STEPS
"""Vectors that a run holds as a rule: those of two starts."""


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
class Solution:
    """A block's eigenvalues, and every sequence's part in the largest ones.

    Attributes:
        result: of Lanczos.
        parts: VᵀH_i·V [sequences, p, p] with Σ H_i = H and V the top Ritz vectors.
    """

    result: LanczosResult
    parts: torch.Tensor


def solve(hessian: Hessian, blocks: Sequence[Any], generators: Sequence[torch.Generator], rule: Rule) -> Iterator[Solution]:
    """Solve the blocks; yields in their order, each as soon as its run and those before it have ended.

    Together are as many as have room for their bases in the budget; where all graphs are kept, only neighbours on the same
    matrix, which alone are faster so.

    Raises:
        UserError: the budget does not hold the basis of a block.
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
        running = [blocks[i] for i in group]
        for results in lockstep(hessian, running, [generators[i] for i in group], rule):
            ended, running = running[: len(results)], running[len(results) :]
            parts = hessian.parts(ended, [result.vectors for result in results])
            yield from map(Solution, results, parts)


def lockstep(
    hessian: Hessian, blocks: Sequence[Any], generators: Sequence[torch.Generator], rule: Rule
) -> Iterator[list[LanczosResult]]:
    """Let all runs that are not finished ask for one product each, until none is left.

    Yields the blocks' results in their order, whenever the next of them has ended: that one and all that follow it without gap.
    """
    limits = [_limit(hessian, block, rule) for block in blocks]
    runs = [
        lanczos_steps(block.size, k=rule.k, keep=SUBSPACE, max_iter=limit, tol=rule.tol, generator=draws, dtype=torch.float32)
        for block, draws, limit in zip(blocks, generators, limits, strict=True)
    ]
    vectors = {index: next(run) for index, run in enumerate(runs)}  # whose products the unfinished runs wait for
    results: dict[int, LanczosResult] = {}
    following = 0
    while vectors:
        products = dict(zip(vectors, hessian.products([blocks[i] for i in vectors], list(vectors.values())), strict=True))
        vectors = {}
        for index, product in products.items():
            try:
                vectors[index] = runs[index].send(product)
            except StopIteration as finished:
                results[index] = finished.value
        ready = list(itertools.takewhile(results.__contains__, range(following, len(blocks))))
        if ready:
            following += len(ready)
            yield [results.pop(index) for index in ready]


def _limit(hessian: Hessian, block: Any, rule: Rule) -> int:
    """Most products of a block: ``max_iter``, or as many as the budget holds basis vectors."""
    held, wanted = hessian.budget.bytes // (8 * block.size), min(rule.max_iter, block.size)
    given = f"{hessian.budget.key}.memory_gb={hessian.budget.bytes / 2**30:.3g}"
    has = f"{given} holds {held} Lanczos vectors of the {block.size} values of"
    if held < min(BASIS, wanted):
        raise UserError(f"{has} {block.name}, which needs {min(BASIS, wanted)}; raise it or take less into a block")
    if held < wanted:
        note(f"  {has} {block.name}: it gets no more products than that")
    return min(rule.max_iter, held)
