"""From a study to the records of its blocks, layer by layer; what has a record is not computed again."""

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

from analysis.read import REFERENCE
from analysis.stats.order_statistics import median
from hessian import rounds, starts
from hessian.adapters import AdapterHessian
from hessian.blocks import Place
from hessian.measure import Asked, leaves, passes, references, solved, written
from hessian.study import Study
from lorabench.cells.checks import check_output
from lorabench.terminal.bars import note
from lorabench.terminal.formats import format_duration


def run(study: Study) -> list[dict[str, Any]]:
    """Return the records of all blocks of the study, computing those that are missing.

    Raises:
        UserError: something that the user can mend.
    """
    check_output(study.settings.output_dir)
    clock = Clock(study)
    if study.settings.blocks == "joint" or study.trained is not None:
        for name in study.methods:
            _adapters(study, name, study.places, clock)
        return _found(study, study.places)
    # Variants that share one graph first: the others take their samples and their reference from them.
    shared = [name for name, method in study.methods.items() if method.variant.bilinear]
    layers = []
    for layer in order_of_layers(study):
        _bilinear(study, shared, layer, clock)
        layers.append(layer)
        if study.settings.layers == "auto" and medians_known(study, shared, layers):
            break
    places = [place for place in study.places if place.layer in layers]
    for name in study.methods:
        if name not in shared:
            _adapters(study, name, places, clock)
    if study.settings.samples == "auto":
        for name, method in study.companions.items():
            if not method.variant.bilinear:
                _adapters(study, name, [place for place in places if study.record(name, place.name)], clock)
    return _found(study, places)


def _found(study: Study, places: Sequence[Place]) -> list[dict[str, Any]]:
    found = [study.record(name, place.name) for name in study.methods for place in places]
    return [record for record in found if record is not None]


def order_of_layers(study: Study) -> list[int]:
    """The layers asked for; with layers=auto the first, the last, then always the middle of the widest gap."""
    layers = sorted({place.layer for place in study.places})
    if study.settings.layers != "auto" or len(layers) < 3:
        return layers
    chosen = [0, len(layers) - 1]
    while len(chosen) < len(layers):
        taken = sorted(chosen)
        low, high = max(itertools.pairwise(taken), key=lambda pair: pair[1] - pair[0])
        chosen.append((low + high) // 2)
    return [layers[i] for i in chosen]


def medians_known(study: Study, variants: Sequence[str], layers: Sequence[int]) -> bool:
    """Whether the median ratio to LoRA over all layers is known to ``hessian.precision`` for each variant and matrix.

    The interval is that of the order statistics (a sign test), at the level of ``order_statistics.median``.
    """
    for matrix in {place.matrix for place in study.places}:
        places = [place for place in study.places if place.matrix == matrix and place.layer in layers]
        for name in variants:
            found = [study.record(name, place.name) or {} for place in places]
            ratios = [record["ratio"]["value"] for record in found if record.get("ratio")]
            if name == REFERENCE:
                continue
            known = median(ratios)
            if not known.sure or math.log(known.high / known.low) > 2 * math.log1p(study.hessian.precision):
                return False
    return True


def _bilinear(study: Study, variants: Sequence[str], layer: int, clock: "Clock") -> None:
    places = [place for place in study.places if place.layer == layer]
    asked = [Asked(name, place) for place in places for name in variants]
    if study.settings.samples == "auto":
        rounds.settle(study, asked)
        for one in asked:
            clock.done(one)
        return
    missing = [one for one in asked if study.record(one.variant, one.place.name) is None]
    if missing:
        for one in written(study, leaves(study, missing, study.most_samples), references(study, places)):
            clock.done(one)


def _adapters(study: Study, variant: str, places: Sequence[Place], clock: "Clock") -> None:
    """Blocks through the real adapters: attached once, then layer by layer."""
    missing = [place for place in places if not _there(study, variant, place)]
    if not missing:
        return
    built = study.method(variant).variant
    with starts.attached(study.base, built, study.settings.seed, study.calibration) as adapted:
        if study.trained is not None:
            starts.load_cell(study.base, built, adapted, study.trained.parent)
        if beyond := starts.outside(adapted, built):
            note(f"variant={variant}: {len(beyond)} parameters outside its matrices are in no block, such as {beyond[0]}")
        for layer in sorted({place.layer for place in missing}):
            here = [place for place in missing if place.layer == layer]
            samples = _sequences(study, here[0]) or study.most_samples
            data = passes(study, adapted, study.examples(samples), layer)
            blocks = [starts.parameters(adapted, built, place.name, study.members(place)) for place in here]
            hessian = AdapterHessian(data, blocks, study.solver.budget(study.trainer))
            asked = [Asked(variant, place) for place in here]
            for one in written(study, solved(study, hessian, asked, blocks), references(study, here)):
                clock.done(one)


def _there(study: Study, variant: str, place: Place) -> bool:
    """Whether the block has its record, on as many sequences as LoRA's."""
    record = study.record(variant, place.name)
    return record is not None and record["sequences"] == (_sequences(study, place) or record["sequences"])


def _sequences(study: Study, place: Place) -> int | None:
    """The number of sequences that LoRA's block was measured on."""
    record = study.record(REFERENCE, place.name) if REFERENCE in study.methods else None
    return None if record is None else record["sequences"]


class Clock:
    """Progress with time left; a block's cost grows with the layers above it."""

    def __init__(self, study: Study):
        blocks = [Asked(name, place) for place in study.places for name in study.methods]
        missing = [one for one in blocks if study.record(one.variant, one.place.name) is None]
        self._left = {one: study.depth - one.place.layer + 2 for one in missing}  # and the head
        self._spent, self._total = 0, len(blocks)
        self._started = time.monotonic()
        if len(missing) < len(blocks):
            note(f"{len(blocks) - len(missing)} of {self._total} blocks were done before")

    def done(self, one: Asked) -> None:
        """Count a block, and say how it stands; one that had a record before is not counted again."""
        if one not in self._left:
            return
        self._spent += self._left.pop(one)
        left = (time.monotonic() - self._started) / self._spent * sum(self._left.values())
        what = f"{one.variant} layer {one.place.layer} {one.place.matrix}"
        note(f"[{self._total - len(self._left)}/{self._total}] {what}: done, {format_duration(left)} left")
