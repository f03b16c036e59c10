"""Accuracy over cost: each variant at its best learning rate, and those that no other one beats in both."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.errors import AnalysisError
from analysis.stats.curves import peaks, settings
from analysis.style.drawing import COLUMNS, GREY, caption, casing, legend, marker, title
from analysis.style.notes import OTHERWISE, choice
from analysis.style.palette import in_order, styles
from analysis.style.settings import hyperparameters, model_and_task

WIDTH = 5.6
"""Inches of a panel."""


class Point(NamedTuple):
    """A variant: seconds of training a cell, mean and standard deviation of its score, at the edge of its learning rates?"""

    variant: str
    cost: float
    score: float
    std: float
    edge: bool = False


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in cost and score, by cost."""
    best, unbeaten = -math.inf, []
    for point in sorted(points, key=lambda point: (point.cost, -point.score)):
        if point.score > best:
            unbeaten.append(point)
            best = point.score
    return unbeaten


def points(cells: pd.DataFrame) -> list[Point]:
    """Of one setting: the median seconds of training, and the score selected as `style.notes.choice` says (else the peak)."""
    best = peaks(cells).set_index("variant")
    finished = cells[cells["status"] == "complete"]  # a diverged cell stopped early
    seconds, lrs = finished.groupby("variant")["seconds"].median().dropna(), cells.groupby("variant")["lr"]
    ends = set(lrs.min().items()) | set(lrs.max().items())
    kind = "selected" if best["selected_mean"].notna().all() else "peak"
    return [
        Point(
            name,
            float(seconds[name]),
            float(best[f"{kind}_mean"][name]),
            float(best[f"{kind}_std"][name]),
            (name, best[f"{kind}_lr"][name]) in ends,
        )
        for name in in_order(best.index)
        if name in seconds
    ]


def draw(cells: pd.DataFrame) -> Figure:
    """One panel a setting.

    Raises:
        AnalysisError: if no cell has a measured cost.
    """
    panels = [(setting, of_setting) for setting, scored in settings(cells) if (of_setting := points(scored))]
    if not panels:
        raise AnalysisError("no cell has a measured cost")
    columns, chosen = min(COLUMNS, len(panels)), choice(cells)
    rows = math.ceil(len(panels) / columns)
    style_of = styles(point.variant for _, of_setting in panels for point in of_setting)
    figure = Figure(figsize=(WIDTH * columns + 1.3, 4.2 * rows), layout="constrained")
    for index, (setting, of_setting) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        best = front(of_setting)
        for point in of_setting:
            style = style_of[point.variant]
            if not math.isnan(point.std):
                low, high = 100 * (point.score - point.std), 100 * (point.score + point.std)
                axes.vlines(point.cost, low, high, color=style.color, linewidth=1.2, path_effects=casing(width=1.2), zorder=2)
            axes.plot(point.cost, 100 * point.score, **marker(style, 8, hollow=point.edge), zorder=3)
        right = axes.get_xlim()[1]  # what is beaten by none, up to where nothing dearer is drawn
        costs, scores = [*(p.cost for p in best), right], [100 * p.score for p in (*best, best[-1])]
        axes.step(costs, scores, where="post", color=GREY, linewidth=1, zorder=1)
        axes.set_xlim(right=right)
        title(axes, model_and_task(setting), hyperparameters(setting), WIDTH)
        axes.set_xlabel("training of one cell, median (s)")
        axes.set_ylabel("test score (%)")
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    optimistic = f", {chosen.verdict}" if chosen.on_test else ""
    caption(
        figure,
        f"Score: at the learning rate of the {chosen.best}{'' if chosen.by == 'test' else OTHERWISE}{optimistic}.  Cost: "
        "median over finished cells.  Grey: the best score for this cost or less.  Hollow: at the edge of the learning rates "
        "tried.  Bars: ± standard deviation over seeds.  Times of cells that ran beside others, or on other devices, do not "
        "compare.",
    )
    return figure
