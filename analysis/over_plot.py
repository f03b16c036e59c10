"""Peaks over rank, duration or batch size: one panel a setting, one line a variant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.bests import bests
from analysis.drawing import caption, casing, legend, log_axis, spread
from analysis.errors import AnalysisError
from analysis.labels import format_lr, hyperparameters, model_and_task
from analysis.options import SETTING
from analysis.over_table import AXES
from analysis.palette import in_order, styles
from analysis.plots import COLUMNS, GREY, marker

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH = 0.1
"""Powers of two by which the outermost variants stand beside their value of the axis."""

LABELS = {"rank": "rank", "duration": "samples × epochs", "batch_size": "batch size"}


def over(frame: pd.DataFrame, axis: str) -> Figure:
    """Above the peak of each variant (± std over seeds), below the learning rate of it, over an axis of `over_table.AXES`.

    Raises:
        AnalysisError: if no setting has two values of the axis.
    """
    from matplotlib.figure import Figure

    best = bests(frame, over=())
    best["x"] = best["train_samples"].astype(float) * best["epochs"] if axis == "duration" else best[axis].astype(float)
    keys = [key for key in SETTING if key not in AXES[axis]]
    panels = [
        (dict(zip(keys, key, strict=True)), cells)
        for key, cells in best.dropna(subset=["x"]).groupby(keys, dropna=False)
        if cells["x"].nunique() > 1
    ]
    if not panels:
        raise AnalysisError(f"no setting was run with more than one value of {LABELS[axis]}")
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    style_of = styles(variant for _, cells in panels for variant in cells["variant"])
    figure = Figure(figsize=(5.2 * columns + 1.3, 5.6 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for index, (setting, cells) in enumerate(panels):
        cell = grid[divmod(index, columns)].subgridspec(2, 1, height_ratios=[3, 2], hspace=0.03)
        peaks = figure.add_subplot(cell[0])
        lrs = figure.add_subplot(cell[1], sharex=peaks)
        _draw(peaks, lrs, cells, style_of)
        lrs.set_xlabel(LABELS[axis])
        title: dict[str, Any] = setting | dict.fromkeys(AXES[axis])
        peaks.set_title(f"{model_and_task(title)}\n", loc="left", fontsize=11, fontweight="bold")
        peaks.text(0, 1.02, hyperparameters(title), transform=peaks.transAxes, fontsize=8.5, color=GREY)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    caption(
        figure,
        "Peak: best mean test accuracy over the learning rates; bars: ± standard deviation over seeds.  "
        "Hollow: at the edge of the learning rates tried.",
    )
    return figure


def _draw(peaks: Axes, lrs: Axes, cells: pd.DataFrame, style_of: dict[str, Any]) -> None:
    variants = in_order(cells["variant"])
    for index, variant in enumerate(variants):
        curve, style = cells[cells["variant"] == variant].sort_values("x"), style_of[variant]
        # Side by side, or equal learning rates would hide each other.
        curve = curve.assign(x=curve["x"] * 2 ** spread(index, len(variants), REACH))
        line: dict[str, Any] = {"color": style.color, "linestyle": style.linestyle, "linewidth": 1.6, "path_effects": casing()}
        low, high = 100 * (curve["mean"] - curve["std"]), 100 * (curve["mean"] + curve["std"])
        peaks.plot(curve["x"], 100 * curve["mean"], **line, zorder=2)
        peaks.vlines(curve["x"], low, high, color=style.color, linewidth=1.2, zorder=2)
        lrs.plot(curve["x"], curve["lr"], **line, zorder=2)
        for row in curve.to_dict("records"):
            drawn = marker(style, 6, hollow=bool(row["edge"]))
            peaks.plot(row["x"], 100 * row["mean"], **drawn, zorder=3)
            lrs.plot(row["x"], row["lr"], **drawn, zorder=3)
    values = sorted(set(cells["x"]))
    for axes in (peaks, lrs):
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    peaks.tick_params(axis="x", labelbottom=False, length=0)
    peaks.set_ylabel("peak test accuracy (%)")
    log_axis(lrs, "y", cells["lr"], label=format_lr)
    lrs.set_ylabel("its learning rate")
