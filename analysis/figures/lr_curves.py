"""Accuracy over learning rate: one panel a setting, one line a variant.

Under each panel a strip shows each variant's best range as a bar, so that the ranges can be compared without being
drawn over the curves.
"""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.stats.curves import BEST_RANGE, peaks, seed_means, settings
from analysis.style.drawing import COLUMNS, GREY, casing, legend, lr_ticks, marker, plain, shorten, title
from analysis.style.palette import Style, in_order, styles
from analysis.style.settings import hyperparameters, model_and_task

WIDTH, CURVES, BAR, MARGIN = 6.4, 3.8, 0.16, 1.2
"""Inches: width of a panel; heights of its curves, of one variant's bar, and of its title and axis labels."""
GAP = 0.1
"""Inches between curves and bars: the layout takes it as a part of the whole figure, however many rows that has."""
LINE_WIDTH = 1.8
CHARACTERS, LONGEST = 76, 40
"""Of learning rates below a panel, of a variant's name beside its bar."""
BASE_LINE: dict[str, Any] = {"color": GREY, "linestyle": (0, (6, 4)), "linewidth": 0.8}
CAPTION = (
    "Large marker: test peak, hollow where it is at the edge of the learning rates tried.  "
    "Band: ± standard deviation over seeds.\n"
    f"Bar: learning rates around the peak whose mean is within {BEST_RANGE:.0%} of it.  "
    "n: a peak of fewer seeds than other points have."
)


def draw(frame: pd.DataFrame) -> Figure:
    """All settings of `frame`, with one legend."""
    panels = list(settings(frame))
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    style_of = styles(variant for _, cells in panels for variant in cells["variant"])
    strip = BAR * (max(cells["variant"].nunique() for _, cells in panels) + 1)
    height = (CURVES + strip + MARGIN) * rows
    figure = Figure(figsize=(WIDTH * columns + 1.3, height), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for index, (setting, cells) in enumerate(panels):
        cell = grid[divmod(index, columns)].subgridspec(2, 1, height_ratios=[CURVES, strip], hspace=GAP / height)
        curves = figure.add_subplot(cell[0])
        bars = figure.add_subplot(cell[1], sharex=curves)
        _draw_curves(curves, cells, style_of)
        _draw_best_ranges(bars, cells, style_of)
        title(curves, model_and_task(setting), hyperparameters(setting), WIDTH)
    handles = legend(style_of, LINE_WIDTH)
    if frame["base_test"].notna().any():
        handles.append(Line2D([], [], label="base model", **BASE_LINE))
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    figure.supxlabel(CAPTION, x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _draw_curves(axes: Axes, cells: pd.DataFrame, style_of: dict[str, Style]) -> None:
    means, best = seed_means(cells), peaks(cells).set_index("variant")
    for variant in in_order(best.index):
        style, peak, curve = style_of[variant], best.loc[variant], means[means["variant"] == variant]
        lr, mean, std = curve["lr"], 100 * curve["test_mean"], 100 * curve["test_std"]
        line: dict[str, Any] = {"color": style.color, "linestyle": style.linestyle, "linewidth": LINE_WIDTH}
        axes.plot(lr, mean, **line, path_effects=casing(width=LINE_WIDTH), zorder=2)
        axes.plot(lr, mean, **marker(style, 5), zorder=3)
        # NaN, the spread of one seed, leaves a gap in the band.
        axes.fill_between(
            lr, (mean - std).clip(lower=0), (mean + std).clip(upper=100), color=style.color, alpha=0.18, linewidth=0
        )
        axes.plot(peak["peak_lr"], 100 * peak["peak_mean"], **marker(style, 10, hollow=bool(peak["edge"])), zorder=4)
        if peak["peak_few_seeds"]:
            point = (peak["peak_lr"], 100 * peak["peak_mean"])
            axes.annotate(f"n={peak['peak_n']}", point, (0, 8), textcoords="offset points", ha="center", fontsize=8, zorder=5)
    for score in cells["base_test"].dropna().unique():
        axes.axhline(100 * score, **BASE_LINE, zorder=1)
    axes.set_ylim(bottom=-2, top=min(104, axes.get_ylim()[1] + 2))
    axes.set_ylabel("test score (%)")
    axes.tick_params(axis="x", which="both", length=0, labelbottom=False)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_best_ranges(axes: Axes, cells: pd.DataFrame, style_of: dict[str, Style]) -> None:
    """One row a variant: a bar over its best range, its marker at the test peak."""
    best = peaks(cells).set_index("variant")
    variants = in_order(best.index)
    for row, variant in enumerate(variants):
        peak, style = best.loc[variant], style_of[variant]
        axes.plot(
            [peak["range_low"], peak["range_high"]],
            [row, row],
            color=style.color,
            alpha=0.5,
            linewidth=5,
            solid_capstyle="butt",
        )
        axes.plot(peak["peak_lr"], row, **marker(style, 6, hollow=bool(peak["edge"])))
    axes.set_yticks(range(len(variants)), [plain(shorten(variant, LONGEST)) for variant in variants], fontsize=7.5)
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("best\nrange", fontsize=8, color=GREY)
    axes.set_xlabel("learning rate")
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    tried = sorted(set(cells["lr"]))
    axes.set_xscale("log")
    axes.set_xlim(tried[0] / 1.25, tried[-1] * 1.25)
    lr_ticks(axes, "x", tried, CHARACTERS)
