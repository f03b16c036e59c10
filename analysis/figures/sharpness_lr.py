"""The figure of `questions.sharpness`: best learning rate over λmax, one panel a comparison, one marker a variant."""

import itertools
import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, ScaledTranslation

from analysis.figures.lr_curves import save
from analysis.questions.sharpness import Comparison, interval
from analysis.style.drawing import GREY, caption, legend, log_axis, marker, title, written
from analysis.style.labels import format_lr
from analysis.style.palette import LineStyle, Style, styles

COLUMNS, PANEL = 2, (5.6, 4.8)
"""Panels side by side; inches of one."""

CAPTION = (
    "λmax: median over the blocks that all variants share, at the start of training. lr: best validation score (hollow: at the "
    "edge of those tried). Line: least squares; dashed: slope -1, lr ∝ 1/λ; dotted: slope -1/2. Markers that would hide each "
    "other are moved up and down."
)
CHARACTERS = 72
"""Of a line below a title."""

SIZE = 9
"""Points: width of a marker, with some air."""


def save_sharpness(comparisons: list[Comparison], path: Path) -> None:
    """Write `figure` as `plots.save` does."""
    save(lambda: figure(comparisons), path)


def figure(comparisons: list[Comparison]) -> Figure:
    """All comparisons."""
    columns = min(COLUMNS, len(comparisons))
    rows = math.ceil(len(comparisons) / columns)
    drawn = Figure(figsize=(PANEL[0] * columns + 1.3, PANEL[1] * rows + 0.5), layout="constrained")
    style_of = styles(variant for one in comparisons for variant in one.points["variant"])
    panels = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(comparisons) :]:
        axes.set_visible(False)
    below = [_below(one) for one in comparisons]
    most = max(map(len, below))
    for index, (axes, one) in enumerate(zip(panels, comparisons, strict=False)):
        _lines(axes, one)
        title(axes, one.title, below[index], PANEL[0], most)
    drawn.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    caption(drawn, CAPTION)
    # Which markers hide each other is known once everything has its place.
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    for axes, one in zip(panels, comparisons, strict=False):
        _markers(axes, one, style_of)
    return drawn


def _below(one: Comparison) -> list[str]:
    """Lines below a title."""
    below = [*textwrap.wrap(one.subtitle, CHARACTERS), *textwrap.wrap(one.measured, CHARACTERS)]
    if one.rank.orders:
        below.append(f"ρ = {interval(one.rank.rho)}, p = {one.rank.p:.2g}; slope {interval(one.slope)}")
    if one.unlike and one.rank_alike.orders:
        words = f"without {', '.join(one.unlike)}: ρ = {interval(one.rank_alike.rho)}; slope {interval(one.slope_alike)}"
        below += textwrap.wrap(words, CHARACTERS)
    return below


def _lines(axes: Axes, one: Comparison) -> None:
    """The fitted line, and those of lr ∝ 1/λ and lr ∝ 1/√λ through the same centre."""
    x, y = one.points["sharpness"], one.points["lr"]
    for name, values, label in (("x", x, written), ("y", y, format_lr)):
        room = 1.4 * (max(values) / min(values)) ** 0.1
        log_axis(axes, name, [min(values) / room, max(values) * room], label=label)
    axes.set_xlabel("median λmax")
    axes.set_ylabel("best learning rate")
    centre = math.exp(sum(map(math.log, x)) / len(x)), math.exp(sum(map(math.log, y)) / len(y))
    drawn: list[tuple[float, LineStyle, float]] = [(-1.0, (0, (6, 4)), 1.0), (-0.5, (0, (1, 2)), 1.0)]
    drawn += [] if math.isnan(one.slope.value) else [(one.slope.value, "-", 1.4)]
    for slope, pattern, width in drawn:
        ends = axes.get_xlim()
        heights = [centre[1] * (end / centre[0]) ** slope for end in ends]
        axes.plot(ends, heights, color=GREY, linestyle=pattern, linewidth=width, scalex=False, scaley=False, zorder=1)


def _markers(axes: Axes, one: Comparison, style_of: dict[str, Style]) -> None:
    """One above the other where they would hide each other."""
    pixels = axes.figure.dpi / 72
    taken: list[Bbox] = []
    for variant, sharpness, lr, edge in one.points.itertuples(index=False):
        x, y = axes.transData.transform((sharpness, lr)) - SIZE * pixels / 2
        shifts = (SIZE * step * sign for step in itertools.count() for sign in (1, -1))  # points: 0, 9, -9, 18, …
        for shift in shifts:
            room = Bbox.from_bounds(x, y + shift * pixels, SIZE * pixels, SIZE * pixels)
            if not room.padded(-0.5).count_overlaps(taken):
                break
        place = axes.transData + ScaledTranslation(0, shift / 72, axes.figure.dpi_scale_trans)
        axes.plot(sharpness, lr, **marker(style_of[variant], 7.5, hollow=bool(edge)), transform=place, zorder=3)
        taken.append(room)
