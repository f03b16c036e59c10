"""``samples=auto``: the blocks of a layer on more and more samples, until their ratios to LoRA stand."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.read import REFERENCE
from hessian import jackknife
from hessian.blocks import Block
from hessian.study.measure import references, solve_leaves, write_records
from hessian.study.study import Study
from lorabench.terminal.bars import note

FIRST_SAMPLES = 16
"""Samples of the first round; fewer give no useful standard error."""

MARGIN = 1.2
"""A round takes so many times what the standard error asks for, since it is an estimate itself."""


def settle(study: Study, blocks: Sequence[Block]) -> None:
    """Leave the records of a layer's blocks, LoRA's first, at a number of samples that tells their ratios to LoRA.

    It is the same for all of them. It begins at the one of the records that are there, and grows at least twofold until each
    ratio is settled, see ``samples_wanted``, or there are no more samples. Where it grows, blocks of other variants in the
    folder are measured again too: their ratios are to the same LoRA.
    """
    places = dict.fromkeys(block.place for block in blocks)
    beside = [Block(name, place) for name, method in study.companions.items() if method.variant.bilinear for place in places]
    growing = [*blocks, *(block for block in beside if study.record(block))]
    records = [study.record(block) for block in blocks]
    samples = max((record["sequences"] for record in records if record), default=FIRST_SAMPLES)
    while True:
        samples = min(samples, study.most_samples)
        _round(study, growing, samples)
        compared = [study.record(block) or {} for block in blocks if block.variant != REFERENCE]
        wanted = max((samples_wanted(record, study.hessian.precision) for record in compared), default=0)
        if wanted <= samples or samples == study.most_samples:
            return
        samples = max(math.ceil(MARGIN * min(wanted, 10**6)), 2 * samples)
        note(f"  layer {blocks[0].place.layer}: the ratios need about {min(samples, study.most_samples)} samples")


def samples_wanted(record: dict[str, Any], precision: float) -> float:
    """Samples at which the ratio to LoRA of a block is settled; no more than it has, if it is.

    Settled means two things. The interval of its log is ±log(1 + precision); the standard error falls with the root of the
    samples. And it differs by no more from the ratio on half of the samples or fewer: λmax of few sequences is too large,
    since the eigenvector fits their noise, which no interval from one round shows. That error falls about as 1/n, so what
    is left of it is no more than what doubling n has changed.
    """
    ratio, samples = record["ratio"], record["sequences"]
    if ratio is None:
        return math.inf
    reach = math.log(ratio["high"] / ratio["low"]) / 2
    wanted = samples * (reach / math.log1p(precision)) ** 2
    earlier = record.get("earlier")
    if earlier is None or abs(math.log(ratio["value"] / earlier["ratio"])) > math.log1p(precision):
        return max(wanted, samples + 1)
    return wanted


def _round(study: Study, blocks: Sequence[Block], samples: int) -> None:
    """Leave records of the blocks at so many samples, where they are not there."""
    records = {block: study.record(block) for block in blocks}
    missing = [block for block, record in records.items() if record is None or record["sequences"] != samples]
    if not missing:
        return
    earlier = {block: _earlier(records[block], samples) for block in missing}
    new = [block for block in missing if earlier[block] is None and block.variant != REFERENCE]
    if new and 2 * FIRST_SAMPLES <= samples < study.most_samples:
        earlier |= _at_half(study, new, samples // 2)
    more = {block: {"earlier": earlier[block]} for block in missing}
    reference = references(study, [block.place for block in missing])
    for _ in write_records(study, solve_leaves(study, missing, samples), reference, more):
        pass


def _earlier(record: dict[str, Any] | None, samples: int) -> dict[str, float] | None:
    """The ratio of a record that this round will replace, if it is on half of the samples or fewer."""
    if record is None or record["ratio"] is None or 2 * record["sequences"] > samples:
        return None
    return {"sequences": record["sequences"], "ratio": record["ratio"]["value"]}


def _at_half(study: Study, blocks: Sequence[Block], samples: int) -> dict[Block, dict[str, float] | None]:
    """The ratios of blocks that come to a LoRA measured before, and so had no earlier round."""
    lora = {block: Block(REFERENCE, block.place) for block in blocks}
    solutions = solve_leaves(study, [*dict.fromkeys(lora.values()), *blocks], samples)
    estimates = {block: jackknife.largest(solution.parts, facts["target_tokens"]) for block, solution, facts in solutions}
    ratios = {block: jackknife.log_ratio(estimates[block], estimates[lora[block]]) for block in blocks}
    return {block: {"sequences": samples, "ratio": math.exp(ratio.value)} if ratio else None for block, ratio in ratios.items()}
