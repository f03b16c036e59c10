"""Each variant against a reference, both at their best learning rates: intervals, tests, and what a clearer answer needs."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.read import REFERENCE
from analysis.read.completions import verified_scores
from analysis.read.options import SETTING
from analysis.stats import MARGIN, equivalence, power
from analysis.stats.curves import by_setting, peaks
from analysis.stats.paired import Difference, difference
from analysis.stats.welch import Side, welch
from analysis.style.notes import choice
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
        One row a setting and variant: `SETTING`, `variant`, `lr`, `reference`, `reference_lr`, `chosen` (by what the learning
        rates were: "validation", what else selects, or "test"), `how` ("paired", "means" or ""), `value`, `low`, `high` (95 %;
        of these trained models where "paired" has one seed, for new seeds alone by "means"), `runs_low`, `runs_high` (95 % of
        these trained models on new problems), `p_different` and `p_equivalent` (each after Holm over the setting's variants),
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
        compared = [
            {key: of_setting[0][key] for key in SETTING}
            | {"variant": name, "reference": base}
            | _comparison(cells[setting], best, name, base, margin, choice(frame).by)
            for name in in_order(best)
            if name != base
        ]
        different, equivalent = (equivalence.holm([row[key] for row in compared]) for key in ("p_different", "p_equivalent"))
        for row, *p in zip(compared, different, equivalent, strict=True):
            row |= {"p_different": p[0], "p_equivalent": p[1], "verdict": equivalence.word(*p)}
        rows += compared
    if not rows:
        raise AnalysisError(UNCOMPARED.format(reference))
    return pd.DataFrame(rows)[[*SETTING, "variant", *COLUMNS]]


def _reference(cells: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]], name: str) -> str | None:
    def score(variant: str) -> float:
        lr = best[variant]["selected_lr"]
        if math.isnan(lr):
            return float(best[variant]["peak_mean"])
        return fmean(cell["validation"] for cell in cells if (cell["variant"], cell["lr"]) == (variant, lr))

    with_options = [variant for variant in best if variant.startswith(f"{name} ")]
    return name if name in best else max(with_options, key=score, default=None)


def _comparison(
    cells: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]], name: str, reference: str, margin: float, by: str
) -> dict[str, Any]:
    kind = "peak" if any(math.isnan(best[variant]["selected_lr"]) for variant in (name, reference)) else "selected"
    lrs = {variant: float(best[variant][f"{kind}_lr"]) for variant in (name, reference)}
    chosen = "test" if kind == "peak" else by
    row: dict[str, Any] = {"lr": lrs[name], "reference_lr": lrs[reference], "chosen": chosen, "left_out": 0}
    by_seed = [
        {cell["seed"]: cell for cell in cells if (cell["variant"], cell["lr"]) == (variant, lr)} for variant, lr in lrs.items()
    ]
    shared = sorted(by_seed[0].keys() & by_seed[1].keys())
    paired = None
    # Two seeds of each that are not shared say more of new seeds than one that is.
    if len(shared) > 1 or min(map(len, by_seed)) < 2:
        paired = paired_difference(*([of_variant[seed] for seed in shared] for of_variant in by_seed))
    if paired is not None:
        low, high = paired.interval()
        return row | {
            "how": "paired", "value": paired.value, "low": low, "high": high,
            "runs_low": paired.runs_low, "runs_high": paired.runs_high,
            "p_different": paired.p(), "p_equivalent": paired.p_equivalent(margin),
            "seeds": paired.seeds, "left_out": len(by_seed[0].keys() ^ by_seed[1].keys()), "problems": paired.problems,
            "seeds_needed": power.seeds_needed(margin, paired.components, paired.problems),
            "problems_needed": power.problems_needed(margin, paired.components, paired.seeds),
        }  # fmt: skip
    a, b = (
        Side(float(best[variant][f"{kind}_mean"]), float(best[variant][f"{kind}_std"]), int(best[variant][f"{kind}_n"]))
        for variant in lrs
    )
    return row | of_means(a, b, margin)


def paired_difference(of_variant: Sequence[dict[str, Any]], of_reference: Sequence[dict[str, Any]]) -> Difference | None:
    """Of cells of the same seeds; None where one diverged, or has no completions that reproduce its record's score."""
    if not of_variant or any(cell["status"] != "complete" for cell in (*of_variant, *of_reference)):
        return None  # a mean over seeds of which some diverged is no mean over problems
    scores = verified_scores((of_variant, of_reference))
    return difference([np.subtract(a, b) for a, b in zip(*scores[0], strict=True)], labels=scores[1]) if scores else None


def of_means(a: Side, b: Side, margin: float) -> dict[str, Any]:
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
    row |= {"how": "", "value": a.mean - b.mean, "seeds": min(a.n, b.n)}
    tested = welch(a, b)
    if tested is None:
        return row
    low, high = tested.interval()
    return row | {
        "how": "means", "low": low, "high": high, "p_different": tested.p,
        "p_equivalent": equivalence.tost(tested.value, tested.stderr, tested.df, margin),
        "seeds_needed": power.seeds_needed_unpaired(margin, a.std, b.std),
    }  # fmt: skip
