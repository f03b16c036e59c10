"""Mean test score over batch size and learning rate: one map a variant, one row a setting."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.errors import AnalysisError
from analysis.read.options import SETTING
from analysis.stats.curves import seed_means
from analysis.style.drawing import GREY, caption, plain, shorten
from analysis.style.numbers import format_lr
from analysis.style.palette import in_order
from analysis.style.settings import hyperparameters, model_and_task

COLORS = "cividis"
"""Made for colour-blind readers, and its lightness alone tells the order in print."""

MAPS = 6
"""Side by side; further variants stand below them."""

HEIGHT, TITLE, NARROWEST = 2.1, 0.5, 5.2
"""Inches: of a row of maps, of a setting's title, and the least width."""

BOLD_AN_INCH, SMALL_AN_INCH, LINES = 11.0, 13.0, 3
"""Characters of a setting's title, and of a map's, and lines of both."""


def draw(cells: pd.DataFrame) -> Figure:
    """All settings with several batch sizes; the best cell of each map is framed.

    Raises:
        AnalysisError: if there is none.
    """
    keys = [key for key in SETTING if key != "batch_size"]
    grids: list[tuple[dict[str, Any], pd.DataFrame]] = [
        (dict(zip(keys, key, strict=True)), means)
        for key, means in seed_means(cells).groupby(keys, dropna=False)
        if means["batch_size"].nunique() > 1
    ]
    if not grids:
        raise AnalysisError("no setting was run with more than one batch size")
    widest = min(MAPS, max(means["variant"].nunique() for _, means in grids))
    most = max(means["lr"].nunique() for _, means in grids)
    lines = [math.ceil(means["variant"].nunique() / widest) for _, means in grids]
    # One map alone would be narrower than its title.
    map_width = max(0.24 * most, 2.0)
    width = max(map_width * widest + 1.6, NARROWEST)
    figure = Figure(figsize=(width, HEIGHT * sum(lines) + TITLE * len(grids)), layout="constrained")
    rows = figure.subfigures(len(grids), 1, squeeze=False, height_ratios=[HEIGHT * n + TITLE for n in lines])[:, 0]
    for part, (setting, means), n in zip(rows, grids, lines, strict=True):
        title = f"{model_and_task(setting)} · {hyperparameters(setting | {'batch_size': None})}"
        part.suptitle(_lines(title, BOLD_AN_INCH * width), x=0.01, ha="left", fontsize=10, fontweight="bold")
        variants = in_order(means["variant"])
        panels = list(part.subplots(n, widest, squeeze=False).flat)
        image = None
        for index, (axes, variant) in enumerate(zip(panels, variants, strict=False)):
            image, best = _draw(axes, means, variant, first=index % widest == 0, last=index + widest >= len(variants))
            characters = SMALL_AN_INCH * map_width
            name = shorten(variant, int(characters * (LINES - 1)))  # whose score has a line of its own, if need be
            axes.set_title(_lines(f"{name}  {best}", characters), fontsize=9, loc="left")
        for axes in panels[len(variants) :]:
            axes.set_visible(False)
        bar = part.colorbar(image, ax=panels, pad=0.01, aspect=12 * n)
        bar.set_label("test score (%)", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    caption(
        figure,
        "Frame: the best cell, dashed where it is at the edge of the learning rates tried.  White: not run.",
    )
    return figure


def _lines(text: str, characters: float) -> str:
    return plain(textwrap.fill(text, int(characters), max_lines=LINES, placeholder=" …"))


def _draw(axes: Axes, cells: pd.DataFrame, variant: str, first: bool, last: bool) -> tuple[Any, str]:
    """The image, and the best score."""
    lrs, batches = sorted(set(cells["lr"])), sorted(set(cells["batch_size"]))
    table = cells[cells["variant"] == variant].pivot_table("test_mean", "batch_size", "lr").reindex(index=batches, columns=lrs)
    values = 100 * table.to_numpy(dtype=float)
    image = axes.imshow(values, origin="lower", aspect="auto", cmap=COLORS, vmin=0, vmax=100 * cells["test_mean"].max())
    best = divmod(int(_first_largest(values)), len(lrs))
    tried = np.flatnonzero(~np.isnan(values[best[0]]))  # with that batch size
    edge = best[1] in (tried[0], tried[-1])
    look: Any = {"edgecolor": "#D55E00", "linewidth": 2, "linestyle": (0, (2, 1)) if edge else "-"}
    axes.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, **look, clip_on=False, zorder=3))
    axes.set_xticks(range(len(lrs)), [format_lr(lr) for lr in lrs], rotation=90, fontsize=6.5)
    axes.set_yticks(range(len(batches)), [str(batch) for batch in batches] if first else [""] * len(batches), fontsize=8)
    axes.tick_params(length=0)
    if last:
        axes.set_xlabel("learning rate", fontsize=8, color=GREY)
    if first:
        axes.set_ylabel("batch size", fontsize=8, color=GREY)
    return image, f"{values[best]:.2f}"


def _first_largest(values: Any) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanargmax(values))
