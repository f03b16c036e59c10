"""What the figures of sharpness share: points with error bars in a variant's style, logarithmic axes, legend, caption."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from analysis.labels import format_lr
from analysis.plots import GREY, INK, marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import AbstractPathEffect

    from analysis.palette import Style

BEYOND = 3.0
"""A logarithmic axis reaches at most this factor beyond the values for the sake of their error bars."""

LINE_WIDTH = 1.3
CHARACTERS_AN_INCH = 17.5
"""Of a caption."""


def points(axes: Axes, x: pd.Series[Any], y: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any], style: Style) -> None:
    """Line, markers, and a bar from `low` to `high` at each point; NaN leaves a gap."""
    line: dict[str, Any] = {"color": style.color, "linewidth": LINE_WIDTH, "path_effects": casing(), "zorder": 2}
    axes.plot(x, y, linestyle=style.linestyle, **line)
    axes.vlines(x, low, high, **line)
    axes.plot(x, y, **marker(style, 5), zorder=3)


def casing(color: str = INK) -> list[AbstractPathEffect]:
    """A thin outline: dark, without which light colours are lost on white paper, or light over dark points."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=LINE_WIDTH + 0.5, foreground=color)]


def spread(index: int, count: int, reach: float) -> float:
    """Where to put the `index`-th of `count` points that share one place: from −`reach` to `reach`."""
    return 0.0 if count < 2 else reach * (2 * index / (count - 1) - 1)


def written(value: float) -> str:
    """A tick's label: plain where that is short."""
    return f"{value:g}" if 1e-3 <= value < 1e4 else format_lr(value)


def log_axis(
    axes: Axes,
    name: str,
    values: Iterable[float],
    ends: Iterable[float] = (),
    label: Callable[[float], str] = written,
) -> None:
    """Make the axis `name`, "x" or "y", logarithmic, with room for the positive values and for the ends of their bars.

    Without a positive value the axis stays linear.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = [value for value in values if value > 0]
    if not shown:
        return
    low, high = min(shown), max(shown)
    kept = [*shown, *(min(max(end, low / BEYOND), high * BEYOND) for end in ends if not math.isnan(end))]
    low, high = min(kept), max(kept)
    margin = max(1.15, (high / low) ** 0.05)
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    (axes.set_xlim if name == "x" else axes.set_ylim)(low / margin, high * margin)
    axis = axes.xaxis if name == "x" else axes.yaxis
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def legend(style_of: dict[str, Style]) -> list[Line2D]:
    """A line with its marker for each variant."""
    from matplotlib.lines import Line2D

    lines = []
    for variant, style in style_of.items():
        line: dict[str, Any] = marker(style, 6) | {"color": style.color, "linestyle": style.linestyle, "linewidth": LINE_WIDTH}
        lines.append(Line2D([], [], label=variant, path_effects=casing(), **line))
    return lines


def caption(figure: Figure, text: str) -> None:
    """Small grey text below the panels, wrapped to the figure's width."""
    width = int(CHARACTERS_AN_INCH * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text, width), x=0.01, ha="left", fontsize=8, color=GREY)
