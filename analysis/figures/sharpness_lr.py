"""Best learning rate over sharpness (RUNS/hessian): one panel a comparison, one marker a variant."""

import itertools
import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, ScaledTranslation

from analysis.questions.sharpness import Comparison, compare
from analysis.read.blocks import load_blocks
from analysis.read.load import load_records
from analysis.style.drawing import GREY, caption, legend, log_axis, marker, tick_label, title
from analysis.style.numbers import format_estimate, format_lr
from analysis.style.palette import LineStyle, Style, styles

COLUMNS, PANEL = 2, (5.6, 4.8)
"""Panels side by side; inches of one."""

CAPTION = (
    "λmax: median over the blocks that all variants share, at the start of training. lr: {best} (hollow: at the "
    "edge of those tried). Line: least squares; dashed: slope -1, lr ∝ 1/λ; dotted: slope -1/2. Markers that would hide each "
    "other are moved up and down."
)
CHARACTERS = 72
"""Of a line below a title."""

SIZE = 9
"""Points: width of a marker, with some air."""


def read(runs: Path, published: Path | None) -> list[Comparison]:
    """The cells of a sweep beside the blocks of its folder `hessian`."""
    return compare(load_records(runs), load_blocks(runs / "hessian"))


def draw(comparisons: list[Comparison]) -> Figure:
    """All comparisons of `questions.sharpness.compare`."""
    columns = min(COLUMNS, len(comparisons))
    rows = math.ceil(len(comparisons) / columns)
    drawn = Figure(figsize=(PANEL[0] * columns + 1.3, PANEL[1] * rows + 0.5), layout="constrained")
    style_of = styles(variant for comparison in comparisons for variant in comparison.points["variant"])
    panels = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(comparisons) :]:
        axes.set_visible(False)
    below = [_below(comparison) for comparison in comparisons]
    most = max(map(len, below))
    for index, (axes, comparison) in enumerate(zip(panels, comparisons, strict=False)):
        _lines(axes, comparison)
        title(axes, comparison.title, below[index], PANEL[0], most)
    drawn.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    caption(drawn, CAPTION.format(best=comparisons[0].chosen.best))
    # Which markers hide each other is known once everything has its place.
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    for axes, comparison in zip(panels, comparisons, strict=False):
        _markers(axes, comparison, style_of)
    return drawn


def _below(comparison: Comparison) -> list[str]:
    """Lines below a title."""
    below = [*textwrap.wrap(comparison.subtitle, CHARACTERS), *textwrap.wrap(comparison.measured, CHARACTERS)]
    if comparison.rank.orders:
        rho, slope = format_estimate(comparison.rank.rho), format_estimate(comparison.slope)
        below.append(f"ρ = {rho}, p = {comparison.rank.p:.2g}; slope {slope}")
    if comparison.unlike and comparison.rank_alike.orders:
        rho, slope = format_estimate(comparison.rank_alike.rho), format_estimate(comparison.slope_alike)
        below += textwrap.wrap(f"without {', '.join(comparison.unlike)}: ρ = {rho}; slope {slope}", CHARACTERS)
    return below


def _lines(axes: Axes, comparison: Comparison) -> None:
    """The fitted line, and those of lr ∝ 1/λ and lr ∝ 1/√λ through the same centre."""
    x, y = comparison.points["sharpness"], comparison.points["lr"]
    for name, values, label in (("x", x, tick_label), ("y", y, format_lr)):
        room = 1.4 * (max(values) / min(values)) ** 0.1
        log_axis(axes, name, [min(values) / room, max(values) * room], label=label)
    axes.set_xlabel("median λmax")
    axes.set_ylabel("best learning rate")
    centre = math.exp(sum(map(math.log, x)) / len(x)), math.exp(sum(map(math.log, y)) / len(y))
    drawn: list[tuple[float, LineStyle, float]] = [(-1.0, (0, (6, 4)), 1.0), (-0.5, (0, (1, 2)), 1.0)]
    drawn += [] if math.isnan(comparison.slope.value) else [(comparison.slope.value, "-", 1.4)]
    for slope, pattern, width in drawn:
        ends = axes.get_xlim()
        heights = [centre[1] * (end / centre[0]) ** slope for end in ends]
        axes.plot(ends, heights, color=GREY, linestyle=pattern, linewidth=width, scalex=False, scaley=False, zorder=1)


def _markers(axes: Axes, comparison: Comparison, style_of: dict[str, Style]) -> None:
    """One above the other where they would hide each other."""
    pixels = axes.figure.dpi / 72
    taken: list[Bbox] = []
    for variant, sharpness, lr, edge in comparison.points.itertuples(index=False):
        x, y = axes.transData.transform((sharpness, lr)) - SIZE * pixels / 2
        shifts = (SIZE * step * sign for step in itertools.count() for sign in (1, -1))  # points: 0, 9, -9, 18, …
        for shift in shifts:
            room = Bbox.from_bounds(x, y + shift * pixels, SIZE * pixels, SIZE * pixels)
            if not room.padded(-0.5).count_overlaps(taken):
                break
        place = axes.transData + ScaledTranslation(0, shift / 72, axes.figure.dpi_scale_trans)
        axes.plot(sharpness, lr, **marker(style_of[variant], 7.5, hollow=bool(edge)), transform=place, zorder=3)
        taken.append(room)
