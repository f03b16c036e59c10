"""Each variant's peak: its best learning rate on test and on validation, and the best range around it."""

import argparse
import math
from typing import Any

import pandas as pd

from analysis.arguments import percent
from analysis.errors import AnalysisError
from analysis.stats.curves import BEST_RANGE, learning_rates, peaks, seed_means, settings
from analysis.style.notes import choice
from analysis.style.numbers import format_lr, format_score
from analysis.style.palette import in_order
from analysis.style.rendering import Block
from analysis.style.settings import hyperparameters, model_and_task

HEADER = ["variant", "test peak %", "at lr", "selected %", "at lr", "best lr range", "seeds", "edge"]
ALIGN = "<><><<<<"
SELECTED = slice(3, 5)
"""Columns that need validation scores."""

FEW_SEEDS = "†"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How far the best range reaches."""
    reach = f"the best lr range reaches that far below the peak (default: {100 * BEST_RANGE:g})"
    parser.add_argument("--within", metavar="PERCENT", type=percent, default=BEST_RANGE, help=reach)


def frame(cells: pd.DataFrame, within: float = BEST_RANGE) -> pd.DataFrame:
    """`stats.curves.peaks` of all settings.

    Raises:
        AnalysisError: `within` has no meaning.
    """
    if not 0 <= within < 1:
        raise AnalysisError(f"the best range reaches from 0 to less than 100 percent below the peak, not {100 * within:g}")
    return peaks(cells, within)


def blocks(cells: pd.DataFrame, within: float = BEST_RANGE) -> tuple[list[Block], list[str]]:
    """One block a setting, one line a variant, and how to read the columns."""
    tables = []
    for setting, of_setting in settings(cells):
        best = frame(of_setting, within).set_index("variant", drop=False)
        best = best.loc[in_order(best["variant"])]
        subtitle = hyperparameters(setting)
        if of_setting["base_test"].notna().any():
            subtitle += f" · untouched base model {_percent(of_setting['base_test'])} %"
        means = seed_means(of_setting)
        # Where some scores carry a mark, a blank on the others keeps the digits of a column below each other.
        no_mark = " " if means["few_seeds"].any() else ""
        rows = [_row({str(key): value for key, value in peak.items()}, no_mark) for peak in best.to_dict("records")]
        header, align = [*HEADER], [*ALIGN]
        if best["selected_mean"].isna().all():
            for line in (header, align, *rows):
                del line[SELECTED]
        tables.append(Block(model_and_task(setting), subtitle, header, "".join(align), rows, _remarks(best, means)))
    return tables, _footnotes(cells, within)


def _percent(scores: pd.Series) -> str:
    """`1.00`, or `1.00–1.50` if not all cells measured the same (on different devices, say)."""
    low, high = 100 * scores.min(), 100 * scores.max()
    return f"{low:.2f}" if math.isclose(low, high) else f"{low:.2f}–{high:.2f}"


def _row(peak: dict[str, Any], no_mark: str) -> list[str]:
    cells = [peak["variant"]]
    for name in ("peak", "selected"):
        mark = FEW_SEEDS if peak[f"{name}_few_seeds"] else no_mark
        cells += [format_score(peak[f"{name}_mean"], peak[f"{name}_std"]) + mark, format_lr(peak[f"{name}_lr"])]
    low, high = peak["range_low"], peak["range_high"]
    best_range = "-" if math.isnan(low) else format_lr(low) if low == high else f"{format_lr(low)}..{format_lr(high)}"
    same = peak["selected_n"] in (0, peak["peak_n"])
    seeds = str(peak["peak_n"]) if same else f"{peak['peak_n']}, {peak['selected_n']}"
    return [*cells, best_range, seeds, peak["edge"] or "-"]


def _remarks(best: pd.DataFrame, means: pd.DataFrame) -> list[str]:
    """What to know about one setting: the spread, how many cells, and what makes its rows hard to compare."""
    remarks = []
    if len(best) > 1:
        peak, selected = (100 * (best[column].max() - best[column].min()) for column in ("peak_mean", "selected_mean"))
        fair = "" if math.isnan(selected) else f", selected {selected:.2f}"
        remarks.append(f"Spread of {len(best)} variants (max - min): test peak {peak:.2f}{fair} points.")
    diverged = best["diverged"].sum()
    remarks.append(f"{best['cells'].sum()} cells" + (f", {diverged} of them diverged (score 0)." if diverged else "."))
    if means["n"].max() == 1:
        remarks.append("One seed only: no standard deviation, so small differences may be chance.")
    if means["few_seeds"].any():
        few, most = means["few_seeds"].sum(), means["n"].max()
        remarks.append(f"{FEW_SEEDS} Incomplete: {few} of {len(means)} points (variant, lr) have fewer than {most} seeds.")
    grids = learning_rates(means)
    if len(set(grids.values())) > 1:
        spans = (
            f"{name} {format_lr(grids[name][0])}..{format_lr(grids[name][-1])} ({len(grids[name])})" for name in best.index
        )
        remarks.append(f"The variants were not tried at the same learning rates: {', '.join(spans)}.")
    return remarks


def _footnotes(cells: pd.DataFrame, within: float) -> list[str]:
    """How to read the columns, and what the numbers leave out."""
    best = peaks(cells)
    notes = ["test peak: best test score over the learning rates, as in the papers; chosen on test, so optimistic."]
    if best["selected_mean"].notna().any():
        chosen = choice(cells)
        notes.append(f"selected: test score at the learning rate with the {chosen.best}; {chosen.verdict}.")
    notes += [
        f"best lr range: around the test peak, test score within {100 * within:g}% of it. ±: std over seeds.",
        "edge: test peak at the lowest (low) or highest (high) lr tried, or the only one (both): the true "
        "peak may lie outside.",
    ]
    if ((best["selected_n"] > 0) & (best["peak_n"] != best["selected_n"])).any():
        notes.append("seeds: where there are two numbers, those of the test peak and of the selected score.")
    failed = cells.loc[cells["status"] == "failed", "variant"].value_counts()
    if len(failed):
        counts = ", ".join(f"{name} {failed[name]}" for name in in_order(failed.index))
        notes.append(f"Left out, failed: {failed.sum()} ({counts}); the error is in their record.json.")
    return notes
