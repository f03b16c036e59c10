"""From a study to the records of its blocks, layer by layer; what has a record is not computed again."""

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

from analysis.read import REFERENCE
from analysis.stats.order_statistics import median
from hessian import starts
from hessian.blocks import Block, Place
from hessian.products.adapters import AdapterHessian
from hessian.study import rounds
from hessian.study.measure import passes, references, solve_blocks, solve_leaves, write_records
from hessian.study.study import Study
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
            _solve_adapters(study, name, study.places, clock)
        return _records(study, study.places)
    # Variants that share one graph first: the others take their samples and their reference from them.
    shared = [name for name, method in study.methods.items() if method.variant.bilinear]
    layers = []
    for layer in order_of_layers(study):
        _solve_bilinear(study, shared, layer, clock)
        layers.append(layer)
        if study.settings.layers == "auto" and medians_suffice(study, shared, layers):
            break
    places = [place for place in study.places if place.layer in layers]
    for name in study.methods:
        if name not in shared:
            _solve_adapters(study, name, places, clock)
    if study.settings.samples == "auto":
        for name, method in study.companions.items():
            if not method.variant.bilinear:
                _solve_adapters(study, name, [place for place in places if study.record(Block(name, place))], clock)
    return _records(study, places)


def _records(study: Study, places: Sequence[Place]) -> list[dict[str, Any]]:
    records = [study.record(Block(name, place)) for name in study.methods for place in places]
    return [record for record in records if record is not None]


def order_of_layers(study: Study) -> list[int]:
    """The layers of the blocks; with layers=auto the first, the last, then always the middle of the widest gap."""
    layers = sorted({place.layer for place in study.places})
    if study.settings.layers != "auto" or len(layers) < 3:
        return layers
    chosen = [0, len(layers) - 1]
    while len(chosen) < len(layers):
        taken = sorted(chosen)
        low, high = max(itertools.pairwise(taken), key=lambda pair: pair[1] - pair[0])
        chosen.append((low + high) // 2)
    return [layers[i] for i in chosen]


def medians_suffice(study: Study, variants: Sequence[str], layers: Sequence[int]) -> bool:
    """Whether these layers tell the median ratio to LoRA over all of them to ``hessian.precision``, of each variant and matrix.

    The interval is that of the order statistics (a sign test), at the level of ``order_statistics.median``.
    """
    for matrix in {place.matrix for place in study.places}:
        places = [place for place in study.places if place.matrix == matrix and place.layer in layers]
        for name in variants:
            if name == REFERENCE:
                continue
            records = [study.record(Block(name, place)) or {} for place in places]
            middle = median([record["ratio"]["value"] for record in records if record.get("ratio")])
            if not middle.sure or math.log(middle.high / middle.low) > 2 * math.log1p(study.hessian.precision):
                return False
    return True


def _solve_bilinear(study: Study, variants: Sequence[str], layer: int, clock: "Clock") -> None:
    places = [place for place in study.places if place.layer == layer]
    blocks = [Block(name, place) for place in places for name in variants]
    if study.settings.samples == "auto":
        rounds.settle(study, blocks)
        for block in blocks:
            clock.count(block)
        return
    missing = [block for block in blocks if study.record(block) is None]
    if missing:
        solutions = solve_leaves(study, missing, study.most_samples)
        for block in write_records(study, solutions, references(study, places)):
            clock.count(block)


def _solve_adapters(study: Study, name: str, places: Sequence[Place], clock: "Clock") -> None:
    """Blocks through the real adapters: attached once, then layer by layer."""
    missing = [place for place in places if not _has_record(study, Block(name, place))]
    if not missing:
        return
    variant = study.method(name).variant
    with starts.adapted_model(study.base, variant, study.settings.seed, study.calibration) as adapted:
        if study.trained is not None:
            starts.load_cell(study.base, variant, adapted, study.trained.parent)
        starts.note_outside(adapted, variant)
        for layer in sorted({place.layer for place in missing}):
            here = [place for place in missing if place.layer == layer]
            data = passes(study, adapted, study.examples(_sequences(study, here[0]) or study.most_samples), layer)
            parameters = [starts.parameters(adapted, variant, place.name, study.members(place)) for place in here]
            hessian = AdapterHessian(data, parameters, study.solver.budget(study.trainer))
            solutions = solve_blocks(study, hessian, [Block(name, place) for place in here], parameters)
            for block in write_records(study, solutions, references(study, here)):
                clock.count(block)


def _has_record(study: Study, block: Block) -> bool:
    """Whether the block has its record, on as many sequences as LoRA's."""
    record = study.record(block)
    return record is not None and record["sequences"] == (_sequences(study, block.place) or record["sequences"])


def _sequences(study: Study, place: Place) -> int | None:
    """The number of sequences that LoRA's block was measured on."""
    record = study.record(Block(REFERENCE, place)) if REFERENCE in study.methods else None
    return None if record is None else record["sequences"]


class Clock:
    """Progress with time left; a block's cost grows with the layers above it."""

    def __init__(self, study: Study):
        blocks = [Block(name, place) for place in study.places for name in study.methods]
        missing = [block for block in blocks if study.record(block) is None]
        self._left = {block: study.depth - block.place.layer + 2 for block in missing}  # and the head
        self._spent, self._total = 0, len(blocks)
        self._started = time.monotonic()
        if len(missing) < len(blocks):
            note(f"{len(blocks) - len(missing)} of {self._total} blocks were done before")

    def count(self, block: Block) -> None:
        """Count a block as done, and say how it stands; one that had a record before is not counted again."""
        if block not in self._left:
            return
        self._spent += self._left.pop(block)
        left = (time.monotonic() - self._started) / self._spent * sum(self._left.values())
        what = f"{block.variant} layer {block.place.layer} {block.place.matrix}"
        note(f"[{self._total - len(self._left)}/{self._total}] {what}: done, {format_duration(left)} left")
