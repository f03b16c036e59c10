"""From a study to the records of its blocks, layer by layer; what has a record is not computed again."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from hessian import jackknife, starts
from hessian.adapters import AdapterHessian
from hessian.operator import Hessian, LeafHessian
from hessian.passes import Passes
from hessian.report import median
from hessian.solve import Solved, solve
from hessian.study import REFERENCE, Place, Study
from lorabench import memory, records
from lorabench.cell import check_output
from lorabench.checkpoint import load_trained
from lorabench.data import Encoded
from lorabench.progress import PROGRESS, duration

SCHEMA_VERSION = 1
FIRST_SAMPLES = 16
"""Samples that samples=auto begins with; fewer give no useful standard error."""

MARGIN = 1.2
"""samples=auto takes so many times what the standard error asks for, since it is an estimate itself."""


@dataclass(frozen=True)
class Asked:
    """A block to be solved."""

    variant: str
    place: Place


def run(study: Study) -> list[dict[str, Any]]:
    """Return the records of all blocks of the study, computing those that are missing.

    Raises:
        UserError: something that the user can mend.
    """
    check_output(study.config["output_dir"])
    clock = Clock(study)
    if study.config["blocks"] == "joint" or study.trained is not None:
        for name in study.variants:
            _adapters(study, name, study.places, clock)
        return _found(study, study.places)
    # Variants that share one graph first: the others take their samples and their reference from them.
    shared = [name for name, (variant, _) in study.variants.items() if variant.bilinear]
    layers = []
    for layer in order_of_layers(study):
        _bilinear(study, shared, layer, clock)
        layers.append(layer)
        if study.config["layers"] == "auto" and medians_known(study, shared, layers):
            break
    places = [place for place in study.places if place.layer in layers]
    for name in study.variants:
        if name not in shared:
            _adapters(study, name, places, clock)
    return _found(study, places)


def _found(study: Study, places: Sequence[Place]) -> list[dict[str, Any]]:
    found = [records.read(study.file(name, place.name)) for name in study.variants for place in places]
    return [record for record in found if record is not None]


def order_of_layers(study: Study) -> list[int]:
    """The layers asked for; with layers=auto the first, the last, then always the middle of the widest gap."""
    layers = sorted({place.layer for place in study.places})
    if study.config["layers"] != "auto" or len(layers) < 3:
        return layers
    chosen = [0, len(layers) - 1]
    while len(chosen) < len(layers):
        taken = sorted(chosen)
        low, high = max(itertools.pairwise(taken), key=lambda pair: pair[1] - pair[0])
        chosen.append((low + high) // 2)
    return [layers[i] for i in chosen]


def medians_known(study: Study, variants: Sequence[str], layers: Sequence[int]) -> bool:
    """Whether the median ratio to LoRA over all layers is known to ``hessian.precision`` for each variant and matrix.

    The interval is that of the order statistics (a sign test), at the level of ``jackknife.LEVEL``.
    """
    for matrix in {place.matrix for place in study.places}:
        places = [place for place in study.places if place.matrix == matrix and place.layer in layers]
        for name in variants:
            found = [records.read(study.file(name, place.name)) or {} for place in places]
            ratios = [record["ratio"]["value"] for record in found if record.get("ratio")]
            if name == REFERENCE:
                continue
            known = median(ratios)
            if not known.sure or math.log(known.high / known.low) > 2 * math.log1p(study.knobs["precision"]):
                return False
    return True


def _bilinear(study: Study, variants: Sequence[str], layer: int, clock: "Clock") -> None:
    places = [place for place in study.places if place.layer == layer]
    asked = [Asked(name, place) for name in variants for place in places if not study.file(name, place.name).exists()]
    if not asked:
        return
    if study.config["samples"] != "auto":
        reference = _references(study, places)
        for one, solved, facts in _solve_leaves(study, asked, study.most_samples):
            estimate = jackknife.largest(solved.parts, facts["target_tokens"])
            if one.variant == REFERENCE:
                reference[one.place.name] = estimate
            _write(study, one, solved, estimate, reference.get(one.place.name), facts)
            clock.done(one)
        return
    everything = [Asked(name, place) for name in variants for place in places]
    samples = min(FIRST_SAMPLES, study.most_samples)
    while True:
        tokens = [example.target_tokens for example in study.examples(samples)]
        found = list(_solve_leaves(study, everything, samples))
        estimates = {one: jackknife.largest(solved.parts, tokens) for one, solved, _ in found}
        against = {one: estimates[Asked(REFERENCE, one.place)] for one in everything}
        ratios = [jackknife.log_ratio(estimates[one], against[one]) for one in everything if one.variant != REFERENCE]
        wanted = max((samples_wanted(ratio, samples, study.knobs["precision"]) for ratio in ratios), default=0)
        if wanted <= samples or samples == study.most_samples:
            break
        samples = min(study.most_samples, max(math.ceil(MARGIN * min(wanted, 10**6)), samples + FIRST_SAMPLES))
        PROGRESS.note(f"  layer {layer}: the ratios need about {samples} samples")
    for one, solved, facts in found:
        _write(study, one, solved, estimates[one], against[one], facts)
        clock.done(one)


def samples_wanted(ratio: jackknife.Interval | None, samples: int, precision: float) -> float:
    """Samples at which the interval of the log ratio is ±log(1 + precision); the standard error falls with their root."""
    if ratio is None:
        return math.inf
    return samples * ((ratio.high - ratio.low) / 2 / math.log1p(precision)) ** 2


def _solve_leaves(study: Study, asked: Sequence[Asked], samples: int) -> Iterator[tuple[Asked, Solved, dict[str, Any]]]:
    names = list(dict.fromkeys(one.place.name for one in asked))
    blocks: dict[Asked, Any] = {}
    for variant in dict.fromkeys(one.variant for one in asked):
        mine = [one for one in asked if one.variant == variant]
        built = study.variants[variant][0]
        factors = starts.factors(study.base, built, [o.place.name for o in mine], study.config["seed"], study.calibration)
        blocks |= dict(zip(mine, factors, strict=True))
    passes = _passes(study, study.base.model, study.examples(samples), asked[0].place.layer)
    hessian = LeafHessian(passes, names, study.budget)
    yield from _solve(study, hessian, asked, [blocks[one] for one in asked])


def _adapters(study: Study, variant: str, places: Sequence[Place], clock: "Clock") -> None:
    """Blocks through the real adapters: attached once, then layer by layer."""
    missing = [place for place in places if not study.file(variant, place.name).exists()]
    if not missing:
        return
    with starts.attached(study.base, study.variants[variant][0], study.config["seed"], study.calibration) as adapted:
        if study.trained is not None:
            load_trained(adapted, study.trained)
        for layer in sorted({place.layer for place in missing}):
            here = [place for place in missing if place.layer == layer]
            reference = _references(study, here)
            samples = _sequences(study, here) or study.most_samples
            passes = _passes(study, adapted, study.examples(samples), layer)
            blocks = [starts.parameters(adapted, place.name, study.members(place)) for place in here]
            hessian = AdapterHessian(passes, blocks, study.budget)
            asked = [Asked(variant, place) for place in here]
            for one, solved, facts in _solve(study, hessian, asked, blocks):
                estimate = jackknife.largest(solved.parts, facts["target_tokens"])
                if variant == REFERENCE and study.trained is None:
                    reference[one.place.name] = estimate
                _write(study, one, solved, estimate, reference.get(one.place.name), facts)
                clock.done(one)


def _passes(study: Study, model: Any, examples: Sequence[Encoded], layer: int) -> Passes:
    return Passes(model, examples, layer, study.base.tokenizer.pad_token_id, study.knobs["attention"])


def _solve(
    study: Study, hessian: Hessian, asked: Sequence[Asked], blocks: Sequence[Any]
) -> Iterator[tuple[Asked, Solved, dict[str, Any]]]:
    """Solve the blocks, with what the record says of how: seconds are the share of each."""
    memory.reset_peak(study.base.device)
    generators = [starts.generator(study.config["seed"], f"lanczos/{one.variant}/{one.place.name}") for one in asked]
    started = time.perf_counter()
    for one, solved in zip(asked, solve(hessian, blocks, generators, study.rule), strict=True):
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
        yield one, solved, facts


def _references(study: Study, places: Sequence[Place]) -> dict[str, jackknife.Estimate]:
    """λmax of LoRA's blocks with and without each sequence, from their records."""
    found = {place.name: records.read(study.file(REFERENCE, place.name)) for place in places if REFERENCE in study.variants}
    return {
        name: jackknife.Estimate(record["data"]["value"], record["left_out"])
        for name, record in found.items()
        if record is not None
    }


def _sequences(study: Study, places: Sequence[Place]) -> int | None:
    """The number of sequences that LoRA's blocks were measured on."""
    found = [records.read(study.file(REFERENCE, place.name)) for place in places if REFERENCE in study.variants]
    return next((record["sequences"] for record in found if record is not None), None)


def _write(
    study: Study,
    one: Asked,
    solved: Solved,
    estimate: jackknife.Estimate,
    reference: jackknife.Estimate | None,
    facts: dict[str, Any],
) -> None:
    """Write the record of a block."""
    result = solved.result
    identity = study.identity(one.variant, one.place.name)
    log_ratio = jackknife.log_ratio(estimate, reference) if reference else None
    record = {
        "schema_version": SCHEMA_VERSION,
        "id": records.digest(identity),
        "kind": "hessian_block",
        "model": study.model.name,
        "task": study.task.name,
        "variant": one.variant,
        "layer": None if study.config["blocks"] == "joint" else one.place.layer,
        "layers": study.depth,
        "matrix": one.place.matrix,
        "rank": study.config["rank"],
        "seed": study.config["seed"],
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
        "growth": jackknife.growth(solved.parts, facts["target_tokens"]),
        **facts,
        "dtype": "float32",
        "attention": study.knobs["attention"],
        "checkpoint": study.knobs["checkpoint"],
        "identity": identity,
        "device": records.device_state(study.base.device, study.base.model.dtype),
        "versions": records.versions(),
        "git": records.git_state(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    records.write(study.file(one.variant, one.place.name), record)


def _ratio(interval: jackknife.Interval) -> dict[str, float]:
    """The ratio to LoRA, from its log."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {key: math.exp(value) for key, value in ends.items()} | {"log_stderr": interval.stderr}


class Clock:
    """Progress with time left; a block's cost grows with the layers above it."""

    def __init__(self, study: Study):
        self._top = study.depth
        blocks = [Asked(name, place) for place in study.places for name in study.variants]
        missing = [one for one in blocks if not study.file(one.variant, one.place.name).exists()]
        self._left = sum(self._cost(one) for one in missing)
        self._spent, self._count, self._total = 0.0, len(blocks) - len(missing), len(blocks)
        self._started = time.monotonic()
        if self._count:
            PROGRESS.note(f"{self._count} of {self._total} blocks were done before")

    def _cost(self, one: Asked) -> float:
        return self._top - one.place.layer + 2  # and the head

    def done(self, one: Asked) -> None:
        """Count a block, and say how it stands."""
        cost = self._cost(one)
        self._spent, self._left, self._count = self._spent + cost, self._left - cost, self._count + 1
        left = (time.monotonic() - self._started) / self._spent * self._left
        what = f"{one.variant} layer {one.place.layer} {one.place.matrix}"
        PROGRESS.note(f"[{self._count}/{self._total}] {what}: done, {duration(left)} left")
