"""Blocks solved, one after the other, and the record that each leaves."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from analysis.read import REFERENCE
from analysis.read.block import KIND, SCHEMA_VERSION
from hessian import jackknife, starts
from hessian.blocks import Block, Place
from hessian.products.leaves import LeafHessian
from hessian.products.operator import Hessian
from hessian.products.passes import Passes
from hessian.solve import Solution, solve
from hessian.study.study import Study
from lorabench.errors import UserError
from lorabench.files import digest, write_json
from lorabench.provenance import device_state, git_state, versions
from lorabench.training import memory
from lorabench.training.data import Encoded

Solutions = Iterator[tuple[Block, Solution, dict[str, Any]]]
"""Blocks, their eigenvalues, and what the record says of how they were computed."""


def solve_leaves(study: Study, blocks: Sequence[Block], samples: int) -> Solutions:
    """Solve blocks of bilinear variants in one layer, which share its graphs."""
    names = list(dict.fromkeys(block.place.name for block in blocks))
    factors: dict[Block, Any] = {}
    for name in dict.fromkeys(block.variant for block in blocks):
        of_variant = [block for block in blocks if block.variant == name]
        variant, matrices = study.method(name).variant, [block.place.name for block in of_variant]
        starting = starts.factors(study.base, variant, matrices, study.settings.seed, study.calibration)
        factors |= dict(zip(of_variant, starting, strict=True))
    data = passes(study, study.base.model, study.examples(samples), blocks[0].place.layer)
    hessian = LeafHessian(data, names, study.solver.budget(study.trainer))
    yield from solve_blocks(study, hessian, blocks, [factors[block] for block in blocks])


def passes(study: Study, model: Any, examples: Sequence[Encoded], layer: int) -> Passes:
    """Passes over the examples from this layer on."""
    return Passes(model, examples, layer, study.base.tokenizer.pad_token_id, study.hessian.attention)


def solve_blocks(study: Study, hessian: Hessian, blocks: Sequence[Block], parameters: Sequence[Any]) -> Solutions:
    """Solve the blocks; ``seconds_with_others`` counts from the start of the first of them.

    Args:
        study: what the blocks are of.
        hessian: of all of them.
        blocks: in the order in which they are yielded.
        parameters: ``Factors`` or ``Parameters`` of each block, as the Hessian takes them.

    Raises:
        UserError: a block has fewer values than eigenvalues are wanted.
    """
    for values in parameters:
        if study.settings.k > values.size:
            raise UserError(f"k={study.settings.k}: the block of {values.name} has {values.size} values; lower k")
    memory.reset_peak(study.base.device)
    generators = [starts.generator(study.settings.seed, f"lanczos/{block.variant}/{block.place.name}") for block in blocks]
    started = time.perf_counter()
    solutions = solve(hessian, parameters, generators, study.solver.rule(study.settings.k))
    for block, solution in zip(blocks, solutions, strict=True):
        facts = {
            "path": type(hessian).__name__,
            "sequences": len(hessian.passes.examples),
            "tokens": sum(len(example.ids) for example in hessian.passes.examples),
            "target_tokens": [example.target_tokens for example in hessian.passes.examples],
            "graphs_kept": round(hessian.kept, 3),
            "graph_bytes": hessian.bytes,
            "peak_memory_bytes": memory.peak(study.base.device),
            "seconds_with_others": round(time.perf_counter() - started, 3),
            "solved_together": len(blocks),
        }
        yield block, solution, facts


def references(study: Study, places: Sequence[Place]) -> dict[str, jackknife.Estimate]:
    """λmax of LoRA's blocks with and without each sequence, by matrix, from their records."""
    if REFERENCE not in study.methods:
        return {}
    records = {place.name: study.record(Block(REFERENCE, place)) for place in places}
    return {
        name: jackknife.Estimate(record["data"]["value"], record["left_out"])
        for name, record in records.items()
        if record is not None
    }


def write_records(
    study: Study,
    solutions: Solutions,
    reference: dict[str, jackknife.Estimate],
    more: Mapping[Block, dict[str, Any]] | None = None,
) -> Iterator[Block]:
    """Write the record of each block as soon as it is solved, and yield the block.

    Args:
        study: what the blocks are of.
        solutions: of the blocks; LoRA's, where they are among them, come first.
        reference: LoRA's λmax by matrix; those of ``solutions`` are added.
        more: further entries of a block's record.
    """
    for block, solution, facts in solutions:
        estimate = jackknife.largest(solution.parts, facts["target_tokens"])
        if block.variant == REFERENCE and study.trained is None:
            reference[block.place.name] = estimate
        further = facts | (more or {}).get(block, {})
        write_json(study.file(block), _record(study, block, solution, estimate, reference.get(block.place.name), further))
        yield block


def _record(
    study: Study,
    block: Block,
    solution: Solution,
    estimate: jackknife.Estimate,
    reference: jackknife.Estimate | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    result = solution.result
    identity = study.identity(block)
    log_ratio = jackknife.log_ratio(estimate, reference) if reference else None
    return {
        "schema_version": SCHEMA_VERSION,
        "id": digest(identity),
        "kind": KIND,
        "model": study.model.name,
        "weights": study.model.weights,
        "task": study.task.name,
        "variant": block.variant,
        "layer": None if study.settings.blocks == "joint" else block.place.layer,
        "layers": study.depth,
        "matrix": block.place.matrix,
        "rank": study.settings.rank,
        "seed": study.settings.seed,
        "lambda_max": result.eigenvalues[0],
        "eigenvalues": list(result.eigenvalues),
        "lambda_min": result.smallest,
        "residual": result.residuals[0],
        "residual_min": result.smallest_residual,
        "upper_bound": result.upper,
        "symmetry_error": result.symmetry_error,
        "iterations": result.iterations,
        "starts": result.starts,
        "converged": result.converged,
        "data": asdict(jackknife.interval(estimate)),
        "ratio": _ratio(log_ratio) if log_ratio else None,
        "left_out": estimate.left_out,
        "growth": jackknife.growth(solution.parts, facts["target_tokens"]),
        **facts,
        "dtype": "float32",
        "attention": study.hessian.attention,
        "checkpoint": study.hessian.checkpoint,
        "identity": identity,
        "variant_config": study.method(block.variant).node,
        "device": device_state(study.base.device, study.base.model.dtype),
        "versions": versions(),
        "git": git_state(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _ratio(interval: jackknife.Interval) -> dict[str, float]:
    """The ratio to LoRA, from its log."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {key: math.exp(value) for key, value in ends.items()} | {"log_stderr": interval.stderr}
