"""Peaks over the learning rate for each batch size, rank or duration: rows variants, columns values of that axis."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.read.options import SETTING, beside_axis
from analysis.stats.bests import DURATION, bests, spread
from analysis.style.labels import format_lr, hyperparameters, model_and_task
from analysis.style.palette import in_order
from analysis.style.rendering import Best, Block

AXES = {"batch_size": ["batch_size"], "rank": ["rank"], "duration": DURATION}
NOTES = [
    "Best test accuracy over the learning rates in percent, and the learning rate of it; chosen on test, so optimistic. "
    "Marked: the best of a column. (low), (high): at that edge of the learning rates tried.",
]


def of(axis: str) -> Callable[[pd.DataFrame], tuple[list[Block], list[str]]]:
    """Blocks of a frame: one for each setting but the axis."""
    columns = AXES[axis]

    def blocks(frame: pd.DataFrame) -> tuple[list[Block], list[str]]:
        best, found = bests(frame, over=()), []
        keys = [key for key in SETTING if key not in columns]
        scored = dict(list(frame[frame["status"] != "failed"].groupby(keys, dropna=False)))
        for key, cells in best.groupby(keys, dropna=False):
            setting: dict[str, Any] = dict(zip(keys, key, strict=True))
            values: Any = cells[columns].drop_duplicates().sort_values(columns).to_dict("records")
            rows, spreads = [], []
            parts = [_only(cells, value) for value in values]
            for variant in in_order(cells["variant"]):
                rows.append([variant, *(cell for part in parts for cell in _cells(part, variant))])
            for value, part in zip(values, parts, strict=True):
                if len(part) > 1:
                    spreads.append(f"{_written(value)}: {100 * spread(part):.2f}")
            remarks = [f"Spread of the variants (max - min), points: {'; '.join(spreads)}."] if spreads else []
            remarks += beside_axis(scored[key])
            header = ["variant", *(title for value in values for title in (_written(value), "at lr"))]
            subtitle = hyperparameters(setting | dict.fromkeys(columns))
            found.append(Block(model_and_task(setting), subtitle, header, "<" + "><" * len(values), rows, remarks))
        return found, NOTES

    return blocks


def frame_of(axis: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """For CSV: the best cell of each variant and setting, the axis first."""

    def frame(frame: pd.DataFrame) -> pd.DataFrame:
        found = bests(frame, over=())
        return found[[*AXES[axis], *(name for name in found if name not in AXES[axis])]]

    return frame


def _only(cells: pd.DataFrame, value: dict[str, Any]) -> pd.DataFrame:
    for name, one in value.items():
        cells = cells[cells[name].isna() if one != one or one is None else (cells[name] == one).fillna(False)]
    return cells


def _cells(part: pd.DataFrame, variant: str) -> tuple[str, str]:
    """Score and learning rate, blank where the variant was not run."""
    found = part[part["variant"] == variant]
    if found.empty:
        return "", ""
    row = found.iloc[0]
    score, lr = f"{100 * row['mean']:.2f}", format_lr(row["lr"]) + (f" ({row['edge']})" if row["edge"] else "")
    return (Best(score) if row["mean"] == part["mean"].max() and len(part) > 1 else score), lr


def _written(value: dict[str, Any]) -> str:
    if "rank" in value:
        return f"rank {value['rank']}"
    if "batch_size" in value:
        return f"batch {value['batch_size']}"
    samples, epochs = value["train_samples"], value["epochs"]
    told = "all samples" if samples != samples or samples is None else f"{samples} samples"
    return told if epochs == 1 else f"{told} × {epochs:g}"
