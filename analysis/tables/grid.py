"""The papers' table: means over learning rate and batch size, the best of each row marked."""

import math
from typing import Any

import pandas as pd

from analysis.read.options import SETTING, beside_axis
from analysis.stats.bests import bests, spread
from analysis.stats.curves import seed_means
from analysis.style.numbers import format_lr, format_score
from analysis.style.palette import in_order
from analysis.style.rendering import Best, Block
from analysis.style.settings import hyperparameters, model_and_task

NOTES = [
    "Test score in percent, means over seeds. Marked: the best of a row. Peaks are chosen on test, so optimistic.",
    "An empty cell was not run.",
]

frame = seed_means


def blocks(cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block for each setting but the batch size: rows batch size and variant, columns learning rates."""
    keys = [key for key in SETTING if key != "batch_size"]
    tables = []
    for key, of_setting in cells[cells["status"] != "failed"].groupby(keys, dropna=False):
        setting: dict[str, Any] = dict(zip(keys, key, strict=True))
        means, best = seed_means(of_setting), bests(of_setting)
        lrs = sorted(set(means["lr"]))
        rows = []
        for batch in sorted(set(means["batch_size"])):
            of_batch = means[means["batch_size"] == batch]
            for variant in in_order(of_batch["variant"]):
                curve = of_batch[of_batch["variant"] == variant].set_index("lr")["test_mean"]
                peak = curve.sort_index().idxmax()
                rows.append([str(batch), variant, *(_score(curve.get(lr, math.nan), lr == peak) for lr in lrs)])
        remarks = [f"Best over learning rate and batch size: {_list_of_best(best)}."]
        if len(best) > 1:
            remarks.append(f"Spread of {len(best)} variants (max - min): {100 * spread(best):.2f} points.")
        remarks += beside_axis(of_setting)
        header = ["batch", "variant", *map(format_lr, lrs)]
        subtitle = hyperparameters(setting | {"batch_size": None})
        tables.append(Block(model_and_task(setting), subtitle, header, "><" + ">" * len(lrs), rows, remarks))
    return tables, NOTES


def _score(mean: float, best: bool) -> str:
    if math.isnan(mean):
        return ""
    return Best(f"{100 * mean:.2f}") if best else f"{100 * mean:.2f}"


def _list_of_best(best: pd.DataFrame) -> str:
    rows: Any = best.set_index("variant")
    return "; ".join(
        f"{name} {format_score(rows.loc[name, 'mean'], rows.loc[name, 'std'])} "
        f"(lr {format_lr(rows.loc[name, 'lr'])}, batch size {rows.loc[name, 'batch_size']})"
        for name in in_order(rows.index)
    )
