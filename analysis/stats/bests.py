"""Best cells over the learning rate and further axes: over batch sizes, or one for each rank or duration."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.read.options import SETTING
from analysis.stats.curves import edge, group_rows, highest, seed_means, selected_by

AXES = {"batch_size": ["batch_size"], "rank": ["rank"], "duration": ["train_samples", "epochs"]}
"""What peaks are shown over, beside the learning rate, and the columns of a setting that it is."""


def bests(frame: pd.DataFrame, over: Sequence[str] = ("batch_size",)) -> pd.DataFrame:
    """The best cell of each variant over the learning rate and the columns `over` of the setting.

    Returns:
        One row per variant and setting without `over`: what is left of `SETTING`, `variant`, the best cell's `over`, `lr`,
        `mean`, `std` and `n` of its test score, `selected_mean` (test score of the cell of the best mean validation score; NaN
        without validation scores), `edge` ("low", "high", "both" or "": the best learning rate among those tried with these
        `over`), `unwritten` (its options, of `read.options.separate`) and `cells`, the number of cells it was chosen from.
    """
    means = seed_means(frame)
    keys = [key for key in SETTING if key not in over]
    rows = []
    for cells in group_rows(means.sort_values([*over, "lr"], kind="stable"), [*keys, "variant"]):
        best = cells[highest([cell["test_mean"] for cell in cells])]
        tried = sorted(cell["lr"] for cell in cells if all(cell[name] == best[name] for name in over))
        selected = selected_by([cell["validation_mean"] for cell in cells])
        rows.append(
            {key: best[key] for key in [*keys, "variant"]}
            | {name: best[name] for name in over}
            | {"lr": best["lr"], "mean": best["test_mean"], "std": best["test_std"], "n": best["n"]}
            | {"selected_mean": math.nan if selected is None else cells[selected]["test_mean"]}
            | {"unwritten": best["unwritten"], "edge": edge(tried.index(best["lr"]), len(tried)), "cells": len(cells)}
        )
    best_cells = pd.DataFrame(rows)
    return best_cells.astype({"train_samples": "Int64"}) if "train_samples" in best_cells else best_cells


def over_axis(best_cells: pd.DataFrame) -> pd.DataFrame:
    """Of rows of one setting but an axis, each variant's best: its peak over the whole axis.

    >>> rows = pd.DataFrame({"variant": ["lora", "lora", "pissa"], "batch_size": [8, 16, 8], "mean": [0.75, 0.5, 0.625]})
    >>> over_axis(rows).to_dict("records")
    [{'variant': 'lora', 'batch_size': 8, 'mean': 0.75}, {'variant': 'pissa', 'batch_size': 8, 'mean': 0.625}]
    """
    return best_cells.loc[best_cells.groupby("variant", sort=False)["mean"].idxmax()]


def spread(best_cells: pd.DataFrame, column: str = "mean") -> float:
    """Best less worst variant of rows of one setting, a fraction.

    >>> spread(pd.DataFrame({"variant": ["lora", "pissa"], "mean": [0.75, 0.5]}))
    0.25
    """
    return float(best_cells[column].max() - best_cells[column].min())
