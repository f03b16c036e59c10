"""Blocks solved, one after the other, and the record that each leaves."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.read import REFERENCE
from analysis.read.block import KIND, SCHEMA_VERSION
from hessian import jackknife, starts
from hessian.blocks import Place
from hessian.operator import Hessian, LeafHessian
from hessian.passes import Passes
from hessian.solve import Solved, solve
from hessian.study import Study
from lorabench.errors import UserError
from lorabench.files import digest, write_json
from lorabench.provenance import device_state, git_state, versions
from lorabench.training import memory
from lorabench.training.data import Encoded


@dataclass(frozen=True)
class Asked:
    """A block to be solved."""

    variant: str
    place: Place


Found = Iterator[tuple[Asked, Solved, dict[str, Any]]]
"""Blocks, what is known of their eigenvalues, and what the record says of how."""


def leaves(study: Study, asked: Sequence[Asked], samples: int) -> Found:
    """Solve blocks of bilinear variants in one layer, which share its graphs."""
    names = list(dict.fromkeys(one.place.name for one in asked))
    blocks: dict[Asked, Any] = {}
    for variant in dict.fromkeys(one.variant for one in asked):
        mine = [one for one in asked if one.variant == variant]
        built = study.method(variant).variant
        factors = starts.factors(study.base, built, [o.place.name for o in mine], study.settings.seed, study.calibration)
        blocks |= dict(zip(mine, factors, strict=True))
    data = passes(study, study.base.model, study.examples(samples), asked[0].place.layer)
    yield from solved(
        study, LeafHessian(data, names, study.solver.budget(study.trainer)), asked, [blocks[one] for one in asked]
    )


def passes(study: Study, model: Any, examples: Sequence[Encoded], layer: int) -> Passes:
    """Passes over the examples from this layer on."""
    return Passes(model, examples, layer, study.base.tokenizer.pad_token_id, study.hessian.attention)


def solved(study: Study, hessian: Hessian, asked: Sequence[Asked], blocks: Sequence[Any]) -> Found:
    """Solve the blocks; ``seconds_with_others`` counts from the start of the first of them.

    Raises:
        UserError: a block has fewer values than the eigenvalues asked for.
    """
    for block in blocks:
        if study.settings.k > block.size:
            raise UserError(f"k={study.config['k']}: the block of {block.name} has {block.size} values; lower k")
    memory.reset_peak(study.base.device)
    generators = [starts.generator(study.settings.seed, f"lanczos/{one.variant}/{one.place.name}") for one in asked]
    started = time.perf_counter()
    for one, found in zip(asked, solve(hessian, blocks, generators, study.solver.rule(study.settings.k)), strict=True):
        facts = {
            "path": type(hessian).__name__,
            "sequences": len(hessian.passes.examples),
            "tokens": sum(len(example.ids) for example in hessian.passes.examples),
            "target_tokens": [example.target_tokens for example in hessian.passes.examples],
            "graphs_kept": round(hessian.kept, 3),
            "graph_bytes": hessian.bytes,
            "peak_memory_bytes": memory.peak(study.base.device),
            "seconds_with_others": round(time.perf_counter() - started, 3),
            "solved_together": len(asked),
        }
        yield one, found, facts


def references(study: Study, places: Sequence[Place]) -> dict[str, jackknife.Estimate]:
    """λmax of LoRA's blocks with and without each sequence, from their records."""
    found = {place.name: study.record(REFERENCE, place.name) for place in places if REFERENCE in study.methods}
    return {
        name: jackknife.Estimate(record["data"]["value"], record["left_out"])
        for name, record in found.items()
        if record is not None
    }


def written(
    study: Study, found: Found, reference: dict[str, jackknife.Estimate], more: Mapping[Asked, dict[str, Any]] | None = None
) -> Iterator[Asked]:
    """Write the record of each block as soon as it is solved.

    Args:
        study: what the blocks are of.
        found: the blocks; LoRA's, where they are among them, come first.
        reference: LoRA's λmax by matrix; those of ``found`` are added.
        more: further entries of a block's record.
    """
    for one, values, facts in found:
        estimate = jackknife.largest(values.parts, facts["target_tokens"])
        if one.variant == REFERENCE and study.trained is None:
            reference[one.place.name] = estimate
        _write(study, one, values, estimate, reference.get(one.place.name), facts | (more or {}).get(one, {}))
        yield one


def _write(
    study: Study,
    one: Asked,
    values: Solved,
    estimate: jackknife.Estimate,
    reference: jackknife.Estimate | None,
    facts: dict[str, Any],
) -> None:
    result = values.result
    identity = study.identity(one.variant, one.place.name)
    log_ratio = jackknife.log_ratio(estimate, reference) if reference else None
    record = {
        "schema_version": SCHEMA_VERSION,
        "id": digest(identity),
        "kind": KIND,
        "model": study.model.name,
        "weights": study.model.weights,
        "task": study.task.name,
        "variant": one.variant,
        "layer": None if study.settings.blocks == "joint" else one.place.layer,
        "layers": study.depth,
        "matrix": one.place.matrix,
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
        "growth": jackknife.growth(values.parts, facts["target_tokens"]),
        **facts,
        "dtype": "float32",
        "attention": study.hessian.attention,
        "checkpoint": study.hessian.checkpoint,
        "identity": identity,
        "variant_config": study.method(one.variant).node,
        "device": device_state(study.base.device, study.base.model.dtype),
        "versions": versions(),
        "git": git_state(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(study.file(one.variant, one.place.name), record)


def _ratio(interval: jackknife.Interval) -> dict[str, float]:
    """The ratio to LoRA, from its log."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {key: math.exp(value) for key, value in ends.items()} | {"log_stderr": interval.stderr}
