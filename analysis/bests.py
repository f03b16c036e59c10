"""Best cells over the learning rate and further axes: over batch sizes, or one for each rank or duration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.options import SETTING
from analysis.stats import edge, seed_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

DURATION = ["train_samples", "epochs"]
"""Columns that say how long a cell trains."""


def bests(frame: pd.DataFrame, over: Sequence[str] = ("batch_size",)) -> pd.DataFrame:
    """The best cell of each variant over the learning rate and the columns `over` of the setting.

    Returns:
        One row per variant and setting without `over`: what is left of `SETTING`, `variant`, the best cell's `over`, `lr`,
        `mean`, `std` and `n` of its test score, `selected_mean` (test score of the cell of the best mean validation score; NaN
        without validation scores), `edge` ("low", "high", "both" or "": the best learning rate among those tried with these
        `over`) and `cells`, the number of cells it was chosen from.
    """
    import pandas as pd

    means = seed_means(frame)
    keys = [key for key in SETTING if key not in over]
    rows = []
    for key, cells in means.groupby([*keys, "variant"], dropna=False):
        cells = cells.sort_values([*over, "lr"]).reset_index(drop=True)
        best: Any = cells.loc[cells["test_mean"].argmax()]
        same = cells[(cells[list(over)] == best[list(over)]).all(axis=1)] if over else cells
        tried = sorted(same["lr"])
        validated = bool(cells["validation_mean"].notna().all())
        rows.append(
            dict(zip([*keys, "variant"], key, strict=True))
            | {name: best[name] for name in over}
            | {"lr": best["lr"], "mean": best["test_mean"], "std": best["test_std"], "n": int(best["n"])}
            | {"selected_mean": cells["test_mean"][cells["validation_mean"].argmax()] if validated else float("nan")}
            | {"edge": edge(tried.index(best["lr"]), len(tried)), "cells": len(cells)}
        )
    found = pd.DataFrame(rows)
    return found.astype({"train_samples": "Int64"}) if "train_samples" in found else found


def spread(found: pd.DataFrame, column: str = "mean") -> float:
    """Best less worst variant of rows of one setting, a fraction."""
    return float(found[column].max() - found[column].min())
