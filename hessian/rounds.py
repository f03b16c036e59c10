"""``samples=auto``: the blocks of a layer on more and more samples, until their ratios to LoRA are known."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.read import REFERENCE
from hessian import jackknife
from hessian.measure import Asked, leaves, references, written
from hessian.study import Study
from lorabench.terminal.bars import note

FIRST_SAMPLES = 16
"""Samples of the first round; fewer give no useful standard error."""

MARGIN = 1.2
"""A round takes so many times what the standard error asks for, since it is an estimate itself."""


def settle(study: Study, asked: Sequence[Asked]) -> None:
    """Leave the records of a layer's blocks, LoRA's first, at a number of samples that tells their ratios to LoRA.

    It is the same for all of them. It begins at the one of the records that are there, and grows at least twofold until each
    ratio is known, see ``samples_wanted``, or there are no more samples. Where it grows, blocks of other variants in the
    folder are measured again too: their ratios are to the same LoRA.
    """
    places = dict.fromkeys(one.place for one in asked)
    beside = [Asked(name, place) for name, method in study.companions.items() if method.variant.bilinear for place in places]
    everything = [*asked, *(one for one in beside if study.record(one.variant, one.place.name))]
    found = [study.record(one.variant, one.place.name) for one in asked]
    samples = max((record["sequences"] for record in found if record), default=FIRST_SAMPLES)
    while True:
        samples = min(samples, study.most_samples)
        _round(study, everything, samples)
        compared = [study.record(one.variant, one.place.name) or {} for one in asked if one.variant != REFERENCE]
        wanted = max((samples_wanted(record, study.hessian.precision) for record in compared), default=0)
        if wanted <= samples or samples == study.most_samples:
            return
        samples = max(math.ceil(MARGIN * min(wanted, 10**6)), 2 * samples)
        note(f"  layer {asked[0].place.layer}: the ratios need about {min(samples, study.most_samples)} samples")


def samples_wanted(record: dict[str, Any], precision: float) -> float:
    """Samples at which the ratio to LoRA of a block is known; no more than it has, if it is known.

    Known means two things. The interval of its log is ±log(1 + precision); the standard error falls with the root of the
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


def _round(study: Study, asked: Sequence[Asked], samples: int) -> None:
    """Leave records of the blocks at so many samples, where they are not there."""
    there = {one: study.record(one.variant, one.place.name) for one in asked}
    missing = [one for one, record in there.items() if record is None or record["sequences"] != samples]
    if not missing:
        return
    earlier = {one: _earlier(there[one], samples) for one in missing}
    unknown = [one for one in missing if earlier[one] is None and one.variant != REFERENCE]
    if unknown and 2 * FIRST_SAMPLES <= samples < study.most_samples:
        earlier |= _at_half(study, unknown, samples // 2)
    more = {one: {"earlier": earlier[one]} for one in missing}
    reference = references(study, [one.place for one in missing])
    for _ in written(study, leaves(study, missing, samples), reference, more):
        pass


def _earlier(record: dict[str, Any] | None, samples: int) -> dict[str, float] | None:
    """The ratio of a record that this round will replace, if it is on half of the samples or fewer."""
    if record is None or record["ratio"] is None or 2 * record["sequences"] > samples:
        return None
    return {"sequences": record["sequences"], "ratio": record["ratio"]["value"]}


def _at_half(study: Study, asked: Sequence[Asked], samples: int) -> dict[Asked, dict[str, float] | None]:
    """The ratios of blocks that come to a LoRA measured before, and so had no earlier round."""
    lora = {one: Asked(REFERENCE, one.place) for one in asked}
    together = [*dict.fromkeys(lora.values()), *asked]
    found = {one: jackknife.largest(s.parts, f["target_tokens"]) for one, s, f in leaves(study, together, samples)}
    ratios = {one: jackknife.log_ratio(found[one], found[lora[one]]) for one in asked}
    return {one: {"sequences": samples, "ratio": math.exp(r.value)} if r else None for one, r in ratios.items()}
