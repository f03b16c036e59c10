"""What the page shows of each setting: curves over the learning rate, peaks, differences to LoRA, costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import cost_table
from analysis.differences import REFERENCE, differences, honest_peaks
from analysis.errors import AnalysisError
from analysis.intervals import NONE, Interval, interval
from analysis.labels import hyperparameters, model_and_task
from analysis.palette import in_order
from analysis.stats import peaks, seed_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

PEAK = ["peak_lr", "peak_mean", "peak_std", "peak_n", "peak_few_seeds", "edge", "range_low", "range_high"]
SELECTED = ["selected_lr", "selected_mean", "selected_std", "selected_n", "selected_few_seeds"]
COST = ["cells", "parameters", "seconds_a_step", "tokens_a_second", "peak_memory", "evaluation_seconds", "hours"]


def panel(setting: dict[str, Any], cells: pd.DataFrame, variants: Sequence[str]) -> dict[str, Any]:
    """One setting with its cells that have a score; `variants` are numbered by their order."""
    number = {name: i for i, name in enumerate(variants)}
    means = seed_means(cells)
    best = peaks(cells).set_index("variant", drop=False)
    found = {str(row["variant"]): row for row in honest_peaks(cells).to_dict("records")}
    return {
        "title": model_and_task(setting),
        "subtitle": hyperparameters(setting),
        "source": setting["source"],
        "base": sorted(set(cells["base_test"].dropna())),
        "seeds": int(means["n"].max()),
        "cells": len(cells),
        "curves": [
            {"variant": number[name], "points": _points(means[means["variant"] == name])} for name in in_order(means["variant"])
        ],
        "peaks": [_peak(number, best.loc[name], cells, found.get(name)) for name in in_order(best.index)],
        "differences": _differences(cells, number),
        "costs": _costs(cells, number),
        "devices": sorted(set(cells["device"].dropna()) - {""}) if "device" in cells else [],
    }


def _points(curve: pd.DataFrame) -> list[list[Any]]:
    """`[lr, mean, std, seeds, diverged]` by rising learning rate."""
    return curve.sort_values("lr")[["lr", "test_mean", "test_std", "n", "diverged"]].astype(object).to_numpy().tolist()


def _peak(number: dict[str, int], row: Any, cells: pd.DataFrame, honest: dict[Any, Any] | None) -> dict[str, Any]:
    name = row["variant"]
    return {
        "variant": number[name],
        **{key: row[key] for key in (*PEAK, *SELECTED, "diverged")},
        "peak_interval": _interval(cells, name, row["peak_lr"], row["peak_mean"]),
        "selected_interval": _interval(cells, name, row["selected_lr"], row["selected_mean"]),
        "honest": honest["honest"] if honest else None,
        "optimism": honest["optimism"] if honest else None,
    }


def _interval(cells: pd.DataFrame, name: str, lr: float, mean: float) -> Interval:
    at = cells[(cells["variant"] == name) & (cells["lr"] == lr)]
    return interval(at, mean) if len(at) else NONE


def _differences(cells: pd.DataFrame, number: dict[str, int]) -> dict[str, Any]:
    """Rows, or the reason why there are none."""
    try:
        found = differences(cells)
    except AnalysisError as error:
        return {"rows": [], "reason": str(error)}
    kept = ["lr", "reference_lr", "how", "value", "low", "high", "runs_low", "runs_high", "p_different", "p_equivalent"]
    kept += ["verdict", "seeds", "problems", "seeds_needed", "problems_needed"]
    rows = [{"variant": number[row["variant"]]} | {key: row[key] for key in kept} for row in found.to_dict("records")]
    return {"rows": rows, "reason": ""}


def _costs(cells: pd.DataFrame, number: dict[str, int]) -> list[dict[str, Any]]:
    costs = cost_table.frame(cells).set_index("variant")
    if costs.empty:
        return []
    reference = costs["seconds_a_step"].get(REFERENCE)
    return [
        {"variant": number[name]}
        | {key: costs.loc[name, key] for key in COST}
        | {"relative": costs.loc[name, "seconds_a_step"] / reference if reference else None}
        for name in in_order(costs.index)
    ]
