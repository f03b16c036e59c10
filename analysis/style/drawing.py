"""What figures share: markers, lines and error bars in a variant's style, logarithmic axes, titles, legend, caption."""

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from analysis.errors import AnalysisError
from analysis.style.numbers import format_lr
from analysis.style.palette import Style

SUFFIXES = (".png", ".pdf", ".svg")
DPI = 200
"""Of a `.png`."""
COLUMNS = 3
"""Panels side by side."""

BEYOND = 3.0
"""A logarithmic axis reaches at most this factor beyond the values for the sake of their error bars."""

GREY, INK = "#555555", "#222222"
LINE_WIDTH, HOLLOW = 1.3, 1.8
"""Points; `HOLLOW` is the ring of a marker that is not filled."""
CHARACTERS_AN_INCH = 17.5
"""Of a caption."""
SMALL_AN_INCH, LINE_HEIGHT = 14, 11.5
"""Characters of small text below a title, and its height in points."""
BOLD_AN_INCH, MOST_LINES, LONGEST_NAME = 9.5, 6, 60
"""Characters of a title, lines below it, characters of a variant's name in a legend."""


def plain(text: str) -> str:
    """Text of records for matplotlib, which would read what stands between two `$` as a formula."""
    return text.replace("$", r"\$")


def shorten(text: str, longest: int) -> str:
    """At most so many characters, the last an ellipsis where some are left out."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def marker(style: Style, size: float, hollow: bool = False) -> dict[str, Any]:
    """Matplotlib's keywords of a variant's marker without a line."""
    drawn: dict[str, Any] = {"linestyle": "none", "marker": style.marker, "markersize": size}
    if hollow:
        edge = {"markerfacecolor": "white", "markeredgecolor": style.color, "markeredgewidth": HOLLOW}
        return drawn | edge | {"path_effects": casing(width=HOLLOW)}
    return drawn | {"markerfacecolor": style.color, "markeredgecolor": INK, "markeredgewidth": 0.5}


def points(axes: Axes, x: pd.Series, y: pd.Series, low: pd.Series, high: pd.Series, style: Style) -> None:
    """Line, markers, and a bar from `low` to `high` at each point; NaN leaves a gap."""
    line: dict[str, Any] = {"color": style.color, "linewidth": LINE_WIDTH, "path_effects": casing(), "zorder": 2}
    axes.plot(x, y, linestyle=style.linestyle, **line)
    axes.vlines(x, low, high, **line)
    axes.plot(x, y, **marker(style, 5), zorder=3)


def casing(color: str = INK, width: float = LINE_WIDTH) -> list[AbstractPathEffect]:
    """A thin outline: dark, without which light colours are lost on white paper, or light over dark points."""
    return [withStroke(linewidth=width + 0.5, foreground=color)]


def spread(index: int, count: int, reach: float) -> float:
    """Where to put the `index`-th of `count` points that share one place: from −`reach` to `reach`."""
    return 0.0 if count < 2 else reach * (2 * index / (count - 1) - 1)


def tick_label(value: float) -> str:
    """A tick's label: plain where that is short."""
    return f"{value:g}" if 1e-3 <= value < 1e4 else format_lr(value)


def log_axis(
    axes: Axes,
    name: str,
    values: Iterable[float],
    ends: Iterable[float] = (),
    label: Callable[[float], str] = tick_label,
) -> None:
    """Make the axis `name`, "x" or "y", logarithmic, with room for the positive values and for the ends of their bars.

    Without a positive value the axis stays linear.
    """
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
    subs = range(1, 10) if decades < 0.7 else (1, 2, 5) if decades < 2.5 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def lr_ticks(axes: Axes, name: str, tried: Iterable[float], room: float) -> None:
    """Ticks of a logarithmic axis at the learning rates tried, written where nothing else is, the shortest numbers first.

    Args:
        axes: whose limits are set.
        name: "x" or "y".
        tried: learning rates; those outside the limits are left out.
        room: how many characters ("x") or lines ("y") the axis is long.
    """
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
    places = {lr: room * math.log(lr / low) / math.log(high / low) for lr in sorted(set(tried)) if low <= lr <= high}
    written: dict[float, float] = {}
    for lr in sorted(places, key=lambda lr: len(format_lr(lr))):
        half = (len(format_lr(lr)) + 1) / 2 if name == "x" else 0.5
        if all(abs(places[lr] - places[place]) >= half + taken for place, taken in written.items()):
            written[lr] = half
    axis.set_ticks(list(places), [format_lr(lr) if lr in written else "" for lr in places])
    axis.set_ticks([], minor=True)
    axis.set_tick_params(labelsize=9)


def title(axes: Axes, words: str, below: str | Sequence[str], width: float, lines: int = 0) -> None:
    """A title in bold and small grey lines below it: text wrapped to `width` inches, or ready lines; at least `lines` high.

    Both are shorten, the title to one line, the text below to `MOST_LINES`: they must leave room for the axes.
    """
    wrapped = _wrap(below, int(SMALL_AN_INCH * width)) if isinstance(below, str) else below
    height = LINE_HEIGHT * max(lines, len(wrapped))
    short = plain(shorten(words, int(BOLD_AN_INCH * width)))
    axes.set_title(short, loc="left", fontsize=11, fontweight="bold", pad=height + 7)
    above = axes.transAxes + ScaledTranslation(0, (height + 4) / 72, axes.figure.dpi_scale_trans)
    axes.text(0, 1, plain("\n".join(wrapped)), transform=above, va="top", fontsize=8.5, color=GREY, linespacing=1.15)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=MOST_LINES, placeholder=" …")


def legend(style_of: dict[str, Style], width: float = LINE_WIDTH) -> list[Line2D]:
    """A line with its marker for each variant."""
    lines = []
    for variant, style in style_of.items():
        line: dict[str, Any] = marker(style, 6) | {"color": style.color, "linestyle": style.linestyle, "linewidth": width}
        lines.append(Line2D([], [], label=plain(shorten(variant, LONGEST_NAME)), path_effects=casing(width=width), **line))
    return lines


def caption(figure: Figure, text: str) -> None:
    """Small grey text below the panels, wrapped to the figure's width."""
    width = int(CHARACTERS_AN_INCH * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text, width), x=0.01, ha="left", fontsize=8, color=GREY)


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Write a figure in the format that the suffix of `path` names; nothing is drawn for another one.

    Raises:
        AnalysisError: if the suffix is not one of `SUFFIXES` or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise AnalysisError(f"cannot write a figure to {path}: its name must end in {', '.join(SUFFIXES)}")
    figure = draw()
    try:
        figure.savefig(path, dpi=DPI)
    except OSError as error:
        raise AnalysisError(f"cannot write {path} ({error.strerror}): choose another place with --out") from None
