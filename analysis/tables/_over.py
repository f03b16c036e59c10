"""Peaks over the learning rate for each value of a further axis (batch size, rank, duration): rows variants, columns values."""

from typing import Any

import pandas as pd

from analysis.read.options import SETTING, beside_axis
from analysis.stats.bests import AXES, bests, over_axis, spread
from analysis.style.numbers import format_lr
from analysis.style.palette import in_order
from analysis.style.rendering import Best, Block
from analysis.style.settings import hyperparameters, model_and_task

NOTES = [
    "Best test score over the learning rates in percent, and the learning rate of it; chosen on test, so optimistic. "
    "Marked: the best of a column. (low), (high): at that edge of the learning rates tried.",
]


def blocks(axis: str, cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block for each setting but the axis, one of `stats.bests.AXES`."""
    columns = AXES[axis]
    best = bests(cells, over=())
    keys = [key for key in SETTING if key not in columns]
    scored = dict(list(cells[cells["status"] != "failed"].groupby(keys, dropna=False)))
    tables = []
    for key, peaks in best.groupby(keys, dropna=False):
        setting: dict[str, Any] = dict(zip(keys, key, strict=True))
        values: Any = peaks[columns].drop_duplicates().sort_values(columns).to_dict("records")
        parts = [_at(peaks, value) for value in values]
        rows = [
            [variant, *(text for part in parts for text in _score_and_lr(part, variant))]
            for variant in in_order(peaks["variant"])
        ]
        spreads = [
            f"{_heading(value)}: {100 * spread(part):.2f}" for value, part in zip(values, parts, strict=True) if len(part) > 1
        ]
        remarks = [f"Spread of the variants (max - min), points: {'; '.join(spreads)}."] if spreads else []
        if (variants := peaks["variant"].nunique()) > 1 and len(values) > 1:
            points = 100 * spread(over_axis(peaks))
            some = "" if len(peaks) == variants * len(values) else ", though not all were run at every value"
            remarks.append(f"Spread of {variants} variants' peaks over the whole axis (max - min): {points:.2f} points{some}.")
        remarks += beside_axis(scored[key])
        header = ["variant", *(title for value in values for title in (_heading(value), "at lr"))]
        subtitle = hyperparameters(setting | dict.fromkeys(columns))
        tables.append(Block(model_and_task(setting), subtitle, header, "<" + "><" * len(values), rows, remarks))
    return tables, NOTES


def frame(axis: str, cells: pd.DataFrame) -> pd.DataFrame:
    """The best cell of each variant and setting, the axis first."""
    best = bests(cells, over=())
    return best[[*AXES[axis], *(name for name in best if name not in AXES[axis])]]


def _at(peaks: pd.DataFrame, value: dict[str, Any]) -> pd.DataFrame:
    """The peaks at one value of the axis; NA is a value, too."""
    for name, wanted in value.items():
        missing = wanted != wanted or wanted is None
        peaks = peaks[peaks[name].isna() if missing else (peaks[name] == wanted).fillna(False)]
    return peaks


def _score_and_lr(peaks: pd.DataFrame, variant: str) -> tuple[str, str]:
    """Blank where the variant was not run."""
    of_variant = peaks[peaks["variant"] == variant]
    if of_variant.empty:
        return "", ""
    row = of_variant.iloc[0]
    score, lr = f"{100 * row['mean']:.2f}", format_lr(row["lr"]) + (f" ({row['edge']})" if row["edge"] else "")
    return (Best(score) if row["mean"] == peaks["mean"].max() and len(peaks) > 1 else score), lr


def _heading(value: dict[str, Any]) -> str:
    if "rank" in value:
        return f"rank {value['rank']}"
    if "batch_size" in value:
        return f"batch {value['batch_size']}"
    samples, epochs = value["train_samples"], value["epochs"]
    amount = "all samples" if samples != samples or samples is None else f"{samples} samples"
    return amount if epochs == 1 else f"{amount} × {epochs:g}"
