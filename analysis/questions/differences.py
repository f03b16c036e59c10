"""Each variant against a reference, both at their best learning rates: intervals, tests, and what a clearer answer needs."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.read import REFERENCE
from analysis.read.completions import reproduced
from analysis.read.options import SETTING
from analysis.stats import MARGIN, equivalence, power
from analysis.stats.curves import by_setting, peaks
from analysis.stats.paired import Difference, difference
from analysis.stats.welch import Side, welch
from analysis.style.palette import in_order

COLUMNS = [
    "lr", "reference", "reference_lr", "chosen", "how", "value", "low", "high", "runs_low", "runs_high", "p_different",
    "p_equivalent", "verdict", "seeds", "left_out", "problems", "seeds_needed", "problems_needed",
]  # fmt: skip
"""Of `differences`, beside setting and variant."""

UNCOMPARED = "no setting has {} and another variant to compare with it"


def differences(frame: pd.DataFrame, margin: float = MARGIN, reference: str = REFERENCE) -> pd.DataFrame:
    """Every variant of each setting against the reference of the same setting.

    Where the reference was run with several options (`lora alpha=8`, `lora alpha=16`), the best of these on validation is it.

    Both at the learning rate of their best mean validation score (at their test peak where there are no validation scores).
    With completions on disk the scores are compared problem by problem (`stats.paired`) on the seeds that both have;
    without, and where they share one seed at most and both have several, by Welch's t-test of the means over seeds.

    Returns:
        One row a setting and variant: `SETTING`, `variant`, `lr`, `reference`, `reference_lr`, `chosen` ("validation" or
        "test", by which the learning rates were), `how` ("paired", "means" or ""), `value`, `low`, `high` (95 %; of these
        trained models where "paired" has one seed, for new seeds alone by "means"), `runs_low`, `runs_high` (95 % of these
        trained models on new problems), `p_different` and `p_equivalent` (each after Holm over the setting's variants),
        `verdict`, `seeds`, `left_out` (seeds that one of both has alone), `problems`, `seeds_needed` (of each variant, to tell
        a difference of the margin apart with these problems), `problems_needed` (with these seeds).

    Raises:
        AnalysisError: if the margin has no meaning, or no setting has the reference and another variant.
    """
    if not 0 < margin < 1:
        raise AnalysisError(f"the margin must be positive and below 100, not {100 * margin:g} points")
    rows: list[dict[str, Any]] = []
    cells = by_setting(frame[frame["status"] != "failed"])
    for setting, of_setting in by_setting(peaks(frame)).items():
        best = {row["variant"]: row for row in of_setting}
        base = _reference(cells[setting], best, reference)
        if base is None or len(best) < 2:
            continue
        found = [
            {key: of_setting[0][key] for key in SETTING}
            | {"variant": name, "reference": base}
            | _compared(cells[setting], best, name, base, margin)
            for name in in_order(best)
            if name != base
        ]
        different, equivalent = (equivalence.holm([row[key] for row in found]) for key in ("p_different", "p_equivalent"))
        for row, *p in zip(found, different, equivalent, strict=True):
            row |= {"p_different": p[0], "p_equivalent": p[1], "verdict": equivalence.word(*p)}
        rows += found
    if not rows:
        raise AnalysisError(UNCOMPARED.format(reference))
    return pd.DataFrame(rows)[[*SETTING, "variant", *COLUMNS]]


def _reference(cells: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]], name: str) -> str | None:
    def score(one: str) -> float:
        lr = best[one]["selected_lr"]
        if math.isnan(lr):
            return float(best[one]["peak_mean"])
        return fmean(cell["validation"] for cell in cells if (cell["variant"], cell["lr"]) == (one, lr))

    return name if name in best else max((one for one in best if one.startswith(f"{name} ")), key=score, default=None)


def _compared(
    cells: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]], name: str, reference: str, margin: float
) -> dict[str, Any]:
    kind = "peak" if any(math.isnan(best[each]["selected_lr"]) for each in (name, reference)) else "selected"
    lrs = {each: float(best[each][f"{kind}_lr"]) for each in (name, reference)}
    chosen = "test" if kind == "peak" else "validation"
    row: dict[str, Any] = {"lr": lrs[name], "reference_lr": lrs[reference], "chosen": chosen, "left_out": 0}
    of = [{cell["seed"]: cell for cell in cells if (cell["variant"], cell["lr"]) == (each, lrs[each])} for each in lrs]
    shared = sorted(of[0].keys() & of[1].keys())
    # Two seeds of each that are not shared say more of new seeds than one that is.
    found = _paired(*([one[seed] for seed in shared] for one in of)) if len(shared) > 1 or min(map(len, of)) < 2 else None
    if found is not None:
        low, high = found.interval()
        return row | {
            "how": "paired", "value": found.value, "low": low, "high": high,
            "runs_low": found.runs_low, "runs_high": found.runs_high,
            "p_different": found.p(), "p_equivalent": found.p_equivalent(margin),
            "seeds": found.seeds, "left_out": len(of[0].keys() ^ of[1].keys()), "problems": found.problems,
            "seeds_needed": power.seeds_needed(margin, found.components, found.problems),
            "problems_needed": power.problems_needed(margin, found.components, found.seeds),
        }  # fmt: skip
    one, other = (
        Side(float(best[each][f"{kind}_mean"]), float(best[each][f"{kind}_std"]), int(best[each][f"{kind}_n"]))
        for each in (name, reference)
    )
    return row | _of_means(one, other, margin)


def _paired(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Difference | None:
    """Of cells of the same seeds; None where one diverged, or has no completions that reproduce its record's score."""
    if not ours or any(cell["status"] != "complete" for cell in (*ours, *theirs)):
        return None  # a mean over seeds of which some diverged is no mean over problems
    found = reproduced((ours, theirs))
    return difference([np.subtract(one, other) for one, other in zip(*found[0], strict=True)]) if found else None


def _of_means(one: Side, other: Side, margin: float) -> dict[str, Any]:
    """By Welch's test; none where a deviation is unknown, or both are 0."""
    unknown = (
        "low",
        "high",
        "runs_low",
        "runs_high",
        "p_different",
        "p_equivalent",
        "seeds_needed",
        "problems_needed",
        "problems",
    )
    row: dict[str, Any] = dict.fromkeys(unknown, math.nan)
    row |= {"how": "", "value": one.mean - other.mean, "seeds": min(one.n, other.n)}
    found = welch(one, other)
    if found is None:
        return row
    low, high = found.interval()
    return row | {
        "how": "means", "low": low, "high": high, "p_different": found.p,
        "p_equivalent": equivalence.tost(found.value, found.stderr, found.df, margin),
        "seeds_needed": power.seeds_needed_unpaired(margin, one.std, other.std),
    }  # fmt: skip
