"""What the page shows of each setting: curves over the learning rate, peaks, differences to LoRA, costs."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.differences import COLUMNS, UNCOMPARED, differences
from analysis.questions.selection import honest_peaks
from analysis.read import REFERENCE
from analysis.stats.curves import by_setting, peaks, seed_means, setting_of
from analysis.stats.intervals import Interval, interval
from analysis.style.palette import in_order
from analysis.style.settings import hyperparameters, model_and_task
from analysis.tables import cost as cost_table
from analysis.tables import metrics as metric_table

Rows = Sequence[dict[str, Any]]


PEAK = ["peak_lr", "peak_mean", "peak_std", "peak_n", "peak_few_seeds", "edge", "range_low", "range_high"]
SELECTED = ["selected_lr", "selected_mean", "selected_std", "selected_n", "selected_few_seeds"]
COST = ["cells", "parameters", "seconds_a_step", "tokens_a_second", "peak_memory", "evaluation_seconds", "hours"]
METRIC = ["metric", "lower", "lr", "mean", "std", "n", "problems", "base", "counting"]
HONEST = {"honest": "honest", "optimism": "optimism", "honest_low": "low", "honest_high": "high"}


def panels(frame: pd.DataFrame, variants: Sequence[str], margin: float) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What is shown of each setting, by its key (`stats.curves.setting_key`).

    Every statistic is computed once for the whole frame and then dealt out: a setting of its own for each of thousands of cells
    is what a random search leaves.

    Args:
        frame: of `read.load.load_records`.
        variants: numbered by their order.
        margin: of `questions.differences.differences`.
    """
    scored = frame[frame["status"] != "failed"]
    cells, means, best = by_setting(scored), by_setting(seed_means(scored)), by_setting(peaks(scored))
    honest, costs = by_setting(honest_peaks(scored)), by_setting(cost_table.frame(scored))
    metrics = by_setting(metric_table.frame(scored))
    try:
        compared = by_setting(differences(scored, margin))
    except AnalysisError:
        compared = {}
    number = {name: i for i, name in enumerate(variants)}
    return {
        key: _panel(cells[key], rows, number)
        | {"peaks": _peaks(best[key], cells[key], honest.get(key, []), number)}
        | {"differences": _differences(compared.get(key, []), number), "costs": _costs(costs.get(key, []), cells[key], number)}
        | {"metrics": _metrics(metrics.get(key, []), number)}
        for key, rows in means.items()
    }


def _panel(cells: Rows, means: Rows, number: dict[str, int]) -> dict[str, Any]:
    first = setting_of(cells[0])
    curves: dict[str, list[list[Any]]] = {}
    for row in means:  # by rising lr
        point = [row[key] for key in ("lr", "test_mean", "test_std", "n", "diverged")]
        curves.setdefault(row["variant"], []).append(point)
    return {
        "title": model_and_task(first),
        "subtitle": hyperparameters(first),
        "source": first["source"],
        "base": sorted({cell["base_test"] for cell in cells if not math.isnan(cell["base_test"])}),
        "seeds": int(max(row["n"] for row in means)),
        "cells": len(cells),
        "curves": [{"variant": number[name], "points": curves[name]} for name in in_order(curves)],
        "devices": sorted({device for cell in cells if isinstance(device := cell.get("device"), str) and device}),
    }


def _peaks(best: Rows, cells: Rows, honest: Rows, number: dict[str, int]) -> list[dict[str, Any]]:
    at: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for cell in cells:
        at.setdefault((cell["variant"], cell["lr"]), []).append(cell)
    fitted = {row["variant"]: row for row in honest}
    peaks = []
    for row in sorted(best, key=lambda row: number[row["variant"]]):
        name = row["variant"]
        peak, selected = (_interval(at, row, kind) for kind in ("peak", "selected"))
        peaks.append(
            {
                "variant": number[name],
                **{key: row[key] for key in (*PEAK, *SELECTED, "diverged")},
                "peak_interval": peak,
                "selected_interval": selected,
                **{key: fitted[name][column] if name in fitted else None for key, column in HONEST.items()},
            }
        )
    return peaks


def _interval(at: dict[tuple[str, float], list[dict[str, Any]]], row: dict[str, Any], kind: str) -> Interval:
    return interval(at.get((row["variant"], row[f"{kind}_lr"]), []), row[f"{kind}_mean"])


def _differences(compared: Rows, number: dict[str, int]) -> dict[str, Any]:
    """Rows, or the reason why there are none."""
    rows = [{"variant": number[row["variant"]]} | {key: row[key] for key in COLUMNS} for row in compared]
    return {"rows": rows, "reason": "" if rows else UNCOMPARED.format(REFERENCE)}


def _metrics(rows: Rows, number: dict[str, int]) -> list[dict[str, Any]]:
    """Those that say more than the scores of a task with one test set do."""
    sets = {row["metric"] for row in rows if row["metric"].count("/") == 1}
    alone = {name for name in sets for split in ("test/", "validation/") if [m for m in sets if m.startswith(split)] == [name]}
    further = [row for row in rows if row["metric"] not in alone]
    return [
        {"variant": number[row["variant"]]} | {key: row[key] for key in METRIC}
        for row in sorted(further, key=lambda row: (row["metric"], number[row["variant"]]))
    ]


def _costs(costs: Rows, cells: Rows, number: dict[str, int]) -> list[dict[str, Any]]:
    seconds = {row["variant"]: row["seconds_a_step"] for row in costs}
    ratios = cost_table.relative(seconds, cost_table.devices_of(cells))
    return [
        {"variant": number[row["variant"]]} | {key: row[key] for key in COST} | {"relative": ratios[row["variant"]]}
        for row in sorted(costs, key=lambda row: number[row["variant"]])
    ]
