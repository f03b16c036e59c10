"""Sharpness of all blocks by variant on a logarithmic axis, as in paper 1 (RUNS: of python -m hessian)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _sharpness
from analysis.read.blocks import block_settings
from analysis.stats.layers import by_layer
from analysis.style.drawing import INK, caption, casing, log_axis, marker
from analysis.style.palette import in_order, styles

BOX_FROM = 5
CAPTION = (
    f"λmax of every block (a matrix of a layer), each a point. Box, from {BOX_FROM} points on: quartiles and median; whiskers: "
    "to the farthest point within 1.5 times the box. n ≤ 0: so many blocks that a logarithmic axis cannot show."
)

read = _sharpness.read


def draw(blocks: pd.DataFrame) -> Figure:
    """λmax by variant (arXiv 2602.04998); one panel a setting."""
    layers = by_layer(blocks)
    style_of = styles(layers["variant"])
    figure, parts = _sharpness.figure_of_settings(blocks, max(6.4, 0.9 * len(style_of) + 1.2))
    for part, (_, of_setting) in zip(parts, block_settings(layers), strict=True):
        axes = part.subplots()
        labels = []
        for place, variant in enumerate(in_order(of_setting["variant"])):
            values = of_setting.loc[of_setting["variant"] == variant, "lambda_max"].to_numpy()
            shown = values[values > 0]
            labels.append(variant if len(shown) == len(values) else f"{variant}\n{len(values) - len(shown)} ≤ 0")
            if len(shown):
                _box(axes, place, shown, style_of[variant].color)
            jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(shown))
            below = 2 if len(shown) >= BOX_FROM else 4  # a lone median must not hide its points
            axes.plot(place + jitter, shown, **marker(style_of[variant], 4), alpha=0.5, zorder=below)
        log_axis(axes, "y", of_setting["lambda_max"])
        axes.grid(False, axis="x")
        axes.set_xticks(range(len(labels)), labels, fontsize=9)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylabel("λmax")
    caption(figure, CAPTION)
    return figure


def _box(axes: Axes, place: int, values: np.ndarray, color: str) -> None:
    """Over the points, so that the median is seen, which is all there is of few values."""
    line: dict[str, Any] = {"color": INK, "linewidth": 1, "zorder": 3}
    few = len(values) < BOX_FROM
    shown: dict[str, Any] = {"showfliers": False, "showcaps": not few, "showbox": not few, "whis": 0 if few else 1.5}
    lines: dict[str, Any] = dict.fromkeys(("whiskerprops", "capprops"), line)
    lines["boxprops"] = line | {"facecolor": (color, 0.15)}
    lines["medianprops"] = line | {"linewidth": 2.5, "path_effects": casing("white")}
    axes.boxplot(values, positions=[place], widths=0.62, patch_artist=True, manage_ticks=False, **shown, **lines)
