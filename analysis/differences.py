"""Each variant against a reference, both at their best learning rates: intervals, tests, and what a clearer answer needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis import equivalence
from analysis.errors import AnalysisError
from analysis.examples import aligned
from analysis.intervals import SAME
from analysis.options import SETTING
from analysis.paired import Difference, difference
from analysis.palette import in_order
from analysis.selection import cross_fitted
from analysis.stats import by_setting, grouped, peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

REFERENCE = "lora"
UNCOMPARED = "no setting has {} and another variant to compare with it"
HOW = {"paired": "problems and seeds", "means": "seeds"}


def differences(frame: pd.DataFrame, margin: float = equivalence.MARGIN, reference: str = REFERENCE) -> pd.DataFrame:
    """Every variant of each setting against the reference of the same setting.

    Both at the learning rate of their best mean validation score (at their test peak where there are no validation scores).
    With completions on disk the scores are compared problem by problem (`analysis.paired`); without, by Welch's t-test of
    the means over seeds, if there are several.

    Returns:
        One row a setting and variant: `SETTING`, `variant`, `lr`, `reference_lr`, `how` ("paired", "means" or ""), `value`,
        `low`, `high` (95 %), `runs_low`, `runs_high` (95 % of these trained models on new problems), `p_different` (after
        Holm over the setting's variants), `p_equivalent`, `verdict`, `seeds`, `problems`, `seeds_needed` (of each variant, to
        tell a difference of the margin apart with these problems), `problems_needed` (with these seeds).

    Raises:
        AnalysisError: if the margin is not positive, or no setting has the reference and another variant.
    """
    import pandas as pd

    if not margin > 0:
        raise AnalysisError(f"the margin must be positive, not {100 * margin:g} points")
    rows: list[dict[str, Any]] = []
    cells = by_setting(frame[frame["status"] != "failed"])
    for setting, of_setting in by_setting(peaks(frame)).items():
        best = {row["variant"]: row for row in of_setting}
        if reference not in best or len(best) < 2:
            continue
        found = [
            {key: of_setting[0][key] for key in SETTING}
            | {"variant": name}
            | _compared(cells[setting], best, name, reference, margin)
            for name in in_order(best)
            if name != reference
        ]
        for row, p in zip(found, equivalence.holm([row["p"] for row in found]), strict=True):
            verdict = equivalence.verdict(row["value"], row["stderr"], row["df"], margin, p)
            row |= {"p_different": p, "p_equivalent": verdict.p_equivalent, "verdict": verdict.word}
        rows += found
    if not rows:
        raise AnalysisError(UNCOMPARED.format(reference))
    columns = [*SETTING, "variant", "lr", "reference_lr", "how", "value", "low", "high", "runs_low", "runs_high"]
    columns += ["p_different", "p_equivalent", "verdict", "seeds", "problems", "seeds_needed", "problems_needed"]
    return pd.DataFrame(rows)[columns]


def _compared(
    cells: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]], name: str, reference: str, margin: float
) -> dict[str, Any]:
    kind = "peak" if any(math.isnan(best[each]["selected_lr"]) for each in (name, reference)) else "selected"
    lrs = {each: float(best[each][f"{kind}_lr"]) for each in (name, reference)}
    row: dict[str, Any] = {"lr": lrs[name], "reference_lr": lrs[reference]}
    found = _paired(cells, lrs)
    if found is not None:
        low, high = found.interval()
        return row | {
            "how": "paired", "value": found.value, "stderr": found.stderr, "df": found.df, "low": low, "high": high,
            "runs_low": found.runs_low, "runs_high": found.runs_high, "p": found.p(), "seeds": found.seeds,
            "problems": found.problems,
            "seeds_needed": equivalence.seeds_needed(margin, found.components, found.problems),
            "problems_needed": equivalence.problems_needed(margin, found.components, found.seeds),
        }  # fmt: skip
    one, other = ([float(best[each][f"{kind}_{what}"]) for what in ("mean", "std", "n")] for each in (name, reference))
    return row | _welch(one, other, margin)


def _paired(cells: Sequence[dict[str, Any]], lrs: dict[str, float]) -> Difference | None:
    """On the seeds that both have; None where one diverged, or has no completions that reproduce its record's score."""
    import numpy as np

    name, reference = lrs
    of = {each: {row["seed"]: row for row in cells if (row["variant"], row["lr"]) == (each, lrs[each])} for each in lrs}
    shared = sorted(of[name].keys() & of[reference].keys())
    if not shared or any(of[each][seed]["status"] != "complete" for seed in shared for each in lrs):
        return None  # a mean over seeds of which some diverged is no mean over problems
    arrays, _ = aligned([[str(of[each][seed]["path"]) for seed in shared] for each in lrs])
    if not arrays:
        return None
    means = [np.mean([scores.mean() for scores in of_model]) for of_model in arrays]
    known = [np.mean([of[each][seed]["test"] for seed in shared]) for each in lrs]
    if max(abs(a - b) for a, b in zip(means, known, strict=True)) > SAME:
        return None  # a file that was cut short, or scored by another rule
    return difference([np.subtract(one, other) for one, other in zip(*arrays, strict=True)])


def _welch(one: list[float], other: list[float], margin: float) -> dict[str, Any]:
    """From mean, standard deviation and number of seeds of each; no test where a deviation is unknown."""
    from scipy.stats import t

    value = one[0] - other[0]
    nothing = dict.fromkeys(("runs_low", "runs_high", "seeds_needed", "problems_needed", "problems"), math.nan)
    row: dict[str, Any] = nothing | {"value": value, "seeds": min(one[2], other[2])}
    if math.isnan(one[1]) or math.isnan(other[1]) or min(one[2], other[2]) < 2:
        return row | {"how": "", **dict.fromkeys(("stderr", "df", "low", "high", "p"), math.nan)}
    parts = [std**2 / n for _, std, n in (one, other)]
    stderr = math.sqrt(sum(parts))
    terms = sum(part**2 / (n - 1) for part, (_, _, n) in zip(parts, (one, other), strict=True))
    df = stderr**4 / terms if terms else one[2] + other[2] - 2
    reach = stderr * float(t.ppf(0.975, df))
    p = 2 * float(t.sf(abs(value) / stderr, df)) if stderr else float(value == 0)
    needed = equivalence.seeds_needed_unpaired(margin, one[1], other[1])
    known = {"stderr": stderr, "df": df, "low": value - reach, "high": value + reach, "p": p}
    return row | {"how": "means", "seeds_needed": needed} | known


def honest_peaks(frame: pd.DataFrame) -> pd.DataFrame:
    """What each variant's choice of the best learning rate by test scores is worth on other seeds and problems.

    Returns:
        One row a setting and variant that has several learning rates, and completions of every one and seed: `SETTING`,
        `variant`, `peak_mean`, `honest` (`analysis.selection.cross_fitted`) and `optimism`, the difference.
    """
    import pandas as pd

    rows = []
    for curve in grouped(frame[frame["status"] != "failed"], [*SETTING, "variant"]):
        paths = {(cell["lr"], cell["seed"]): str(cell["path"]) for cell in curve}
        lrs, seeds = (sorted(set(values)) for values in zip(*paths, strict=True))
        full = len(paths) == len(lrs) * len(seeds) and all(cell["status"] == "complete" for cell in curve)
        if len(lrs) < 2 or not full:
            continue
        arrays, ids = aligned([[paths[lr, seed] for seed in seeds] for lr in lrs])
        if arrays:
            found = cross_fitted(arrays, ids)
            known = {"peak_mean": found.peak, "honest": found.value, "optimism": found.optimism}
            rows.append({key: curve[0][key] for key in [*SETTING, "variant"]} | known)
    return pd.DataFrame(rows, columns=[*SETTING, "variant", "peak_mean", "honest", "optimism"])
