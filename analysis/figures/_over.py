"""Peaks over rank, duration or batch size: one panel a setting, one line a variant."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import AnalysisError
from analysis.read.options import SETTING
from analysis.stats.bests import AXES, bests
from analysis.stats.curves import seed_means
from analysis.style.drawing import COLUMNS, caption, casing, legend, lr_ticks, marker, spread, title
from analysis.style.palette import Style, in_order, styles
from analysis.style.settings import hyperparameters, model_and_task

WIDTH, WIDEST, SIDES, HEIGHTS = 5.2, 8.0, 0.8, (3.4, 2.6)
"""Inches: width of a panel, and of one that holds many markers; of what is beside its axes; heights of its two parts."""

MARKER, SLOT = 6, 8.0
"""Points: size of a marker; from one variant to the next where they stand side by side at their value of the axis."""

GAP = 0.18
"""Inches between the two parts: the layout takes it as a part of the whole figure, however many rows that has."""

SHARE = 0.4
"""Of the way to the next value, how far variants may stand from their own."""

WRITTEN = 13
"""Learning rates that can be written above each other."""

LABELS = {"rank": "rank", "duration": "samples × epochs", "batch_size": "batch size"}
EPOCHS = "epochs"
"""The axis of duration where all samples are trained on, for how many they are is not known."""


def draw(axis: str, cells: pd.DataFrame) -> Figure:
    """Above the peak of each variant (± std over seeds), below the learning rate of it, over an axis of `stats.bests.AXES`.

    Raises:
        AnalysisError: if no setting has two values of the axis.
    """
    best = bests(cells, over=())
    means = seed_means(cells)
    best["x"] = _x(best, axis)
    keys = [key for key in SETTING if key not in AXES[axis]]
    for labelled in (best, means):
        labelled["label"] = LABELS[axis]
        if axis == "duration":
            labelled.loc[labelled["train_samples"].isna(), "label"] = EPOCHS
    tried = {key: sorted(set(points["lr"])) for key, points in means.groupby([*keys, "label"], dropna=False)}
    panels: list[tuple[dict[str, Any], pd.DataFrame, list[float]]] = [
        (dict(zip([*keys, "label"], key, strict=True)), peaks, tried[key])
        for key, peaks in best.groupby([*keys, "label"], dropna=False)
        if peaks["x"].nunique() > 1
    ]
    if not panels:
        beside = ", or, of all samples, of epochs" if axis == "duration" else ""
        raise AnalysisError(f"no setting was run with more than one value of {LABELS[axis]}{beside}")
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    style_of = styles(variant for _, cells, _ in panels for variant in cells["variant"])
    width = max(_width(cells) for _, cells, _ in panels)
    height = sum(HEIGHTS) * rows
    figure = Figure(figsize=(width * columns + 1.3, height), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for index, (setting, cells, lrs) in enumerate(panels):
        cell = grid[divmod(index, columns)].subgridspec(2, 1, height_ratios=HEIGHTS, hspace=GAP / height)
        upper = figure.add_subplot(cell[0])
        lower = figure.add_subplot(cell[1], sharex=upper)
        _draw(upper, lower, cells, style_of, width)
        _lr_axis(lower, cells["lr"], lrs)
        lower.set_xlabel(setting["label"])
        named: dict[str, Any] = setting | dict.fromkeys(AXES[axis])
        if setting["label"] == EPOCHS:
            named["train_samples"] = math.nan
        title(upper, model_and_task(named), hyperparameters(named), width)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    caption(
        figure,
        "Peak: best mean test score over the learning rates; bars: ± standard deviation over seeds.  Hollow: at the edge of "
        "the learning rates tried.  Between two upright lines, variants stand side by side.",
    )
    return figure


def _x(best: pd.DataFrame, axis: str) -> pd.Series:
    if axis != "duration":
        return best[axis].astype(float)
    return best["train_samples"].fillna(1).astype(float) * best["epochs"]


def _octaves(cells: pd.DataFrame) -> tuple[float, float]:
    """Powers of two from the first value of the axis to the last, and between the closest two."""
    values = sorted(set(cells["x"]))
    return math.log2(values[-1] / values[0]), min(math.log2(b / a) for a, b in pairwise(values))


def _aside(cells: pd.DataFrame) -> float:
    """Points by which the outermost variants stand beside their value of the axis, given room."""
    return (cells["variant"].nunique() - 1) / 2 * SLOT


def _width(cells: pd.DataFrame) -> float:
    """Inches of a panel in which no variant hides another, within limits."""
    span, gap = _octaves(cells)
    needed = _aside(cells) / (SHARE * gap) * (span + 2 * SHARE * gap) / 72 + SIDES
    return min(max(WIDTH, needed), WIDEST)


def _draw(upper: Axes, lower: Axes, cells: pd.DataFrame, style_of: dict[str, Style], width: float) -> None:
    variants = in_order(cells["variant"])
    span, gap = _octaves(cells)
    points_of_axis = (width - SIDES) * 72
    reach = min(SHARE * gap, _aside(cells) * span / max(points_of_axis - 2 * _aside(cells), 1))
    for index, variant in enumerate(variants):
        curve, style = cells[cells["variant"] == variant].sort_values("x"), style_of[variant]
        # Side by side, or equal learning rates would hide each other.
        curve = curve.assign(x=curve["x"] * 2 ** spread(index, len(variants), reach))
        line: dict[str, Any] = {"color": style.color, "linestyle": style.linestyle, "zorder": 2}
        low, high = 100 * (curve["mean"] - curve["std"]), 100 * (curve["mean"] + curve["std"])
        upper.plot(curve["x"], 100 * curve["mean"], **line, linewidth=1.6, path_effects=casing())
        upper.vlines(curve["x"], low, high, color=style.color, linewidth=1.2, path_effects=casing(width=1.2), zorder=2)
        lower.plot(curve["x"], curve["lr"], **line, linewidth=0.9, path_effects=casing(width=0.9))
        for row in curve.to_dict("records"):
            drawn = marker(style, MARKER, hollow=bool(row["edge"]))
            upper.plot(row["x"], 100 * row["mean"], **drawn, zorder=3)
            lower.plot(row["x"], row["lr"], **drawn, zorder=3)
    values = sorted(set(cells["x"]))
    for axes in (upper, lower):
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([math.sqrt(a * b) for a, b in pairwise(values)], minor=True)
        axes.tick_params(axis="x", which="minor", length=0, labelbottom=False)
        axes.grid(axis="y", color="#E5E5E5", linewidth=0.6)
        axes.grid(axis="x", which="minor", color="#E5E5E5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    beside = reach + MARKER * span / points_of_axis
    lower.set_xlim(values[0] / 2**beside, values[-1] * 2**beside)
    upper.tick_params(axis="x", labelbottom=False, length=0)
    upper.set_ylabel("peak test score (%)")


def _lr_axis(axes: Axes, best: Iterable[float], tried: list[float]) -> None:
    """From the tried learning rate below the lowest best to that above the highest, so that edges are seen as such."""
    first, last = tried.index(min(best)), tried.index(max(best))
    low, high = tried[max(first - 1, 0)], tried[min(last + 1, len(tried) - 1)]
    margin = max(1.15, (high / low) ** 0.05)
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    lr_ticks(axes, "y", tried, WRITTEN)
    axes.set_ylabel("its learning rate")
