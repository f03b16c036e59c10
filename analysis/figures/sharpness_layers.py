"""Sharpness over LoRA's along the layers: one panel a matrix, one line a variant (RUNS: of python -m hessian)."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.errors import AnalysisError
from analysis.figures import _sharpness
from analysis.read import REFERENCE
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings
from analysis.stats.layers import by_layer
from analysis.style.drawing import GREY, INK, caption, legend, log_axis, points, spread
from analysis.style.palette import Style, in_order, matrices_in_order, styles

PANEL = (3.6, 2.8)
"""Inches: width and height of a panel."""

COLUMNS = 4
CAPTION = (
    "λmax over LoRA's of the same block (black line: LoRA). Bars: 95 % from the choice of sequences (jackknife); with several "
    "seeds the median, with bars over the intervals of all. Blocks where a λmax is not positive are left out; lines join "
    "neighbouring layers alone."
)

read = _sharpness.read


def draw(blocks: pd.DataFrame) -> Figure:
    """Each setting in rows of its own.

    Raises:
        AnalysisError: of joint blocks, which have no layer.
    """
    if (blocks["layer"] == JOINT).any():
        raise AnalysisError("these records are of joint blocks, which have no layer: measure single ones with blocks=each")
    layers = by_layer(blocks)
    shapes = [_grid(of_setting["matrix"].nunique()) for _, of_setting in block_settings(layers)]
    heights = [rows * PANEL[1] + 0.5 for rows, _ in shapes]
    width = max(columns for _, columns in shapes) * PANEL[0] + 1.4
    figure, parts = _sharpness.figure_of_settings(blocks, max(width, 7), heights)
    style_of = styles(layers["variant"])
    for part, shape, (_, of_setting) in zip(parts, shapes, block_settings(layers), strict=True):
        panels = list(part.subplots(*shape, squeeze=False, sharex=True, sharey=True).flat)
        matrices = matrices_in_order(of_setting["matrix"])
        for axes, matrix in zip(panels, matrices, strict=False):
            _ratios(axes, of_setting, matrix, style_of)
        for axes in panels[len(matrices) :]:
            axes.set_visible(False)
        for axes in panels[: len(matrices)][-shape[1] :]:
            axes.tick_params(axis="x", labelbottom=True)  # above an empty place, too
        part.supxlabel("decoder layer", fontsize=10)
        part.supylabel("λmax / λmax of LoRA", fontsize=10)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3)
    caption(figure, CAPTION)
    return figure


def _grid(panels: int) -> tuple[int, int]:
    columns = min(COLUMNS, panels)
    return math.ceil(panels / columns), columns


def _ratios(axes: Axes, layers: pd.DataFrame, matrix: str, style_of: dict[str, Style]) -> None:
    """One panel; its axes reach as far as those of all matrices of the setting, with which it shares them."""
    axes.axhline(1, color=style_of[REFERENCE].color if REFERENCE in style_of else INK, linewidth=1.5, zorder=1)
    compared = layers[layers["variant"] != REFERENCE]
    variants = in_order(compared["variant"])
    for index, variant in enumerate(variants):
        line = compared[(compared["variant"] == variant) & (compared["matrix"] == matrix)].set_index("layer")
        line = line.reindex(range(layers["layer"].min(), layers["layer"].max() + 1))  # no line over what was not measured
        x = line.index.to_series() + spread(index, len(variants), 0.2)
        points(axes, x, line["ratio"], line["ratio_low"], line["ratio_high"], style_of[variant])
    log_axis(axes, "y", [1, *compared["ratio"]], [*compared["ratio_low"], *compared["ratio_high"]])
    axes.set_xlim(layers["layer"].min() - 0.5, layers["layer"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(matrix, loc="left", fontsize=10)
    if compared.loc[compared["matrix"] == matrix, "ratio"].isna().all():
        axes.annotate("nothing to compare with LoRA", (0.5, 0.3), xycoords="axes fraction", ha="center", color=GREY, fontsize=9)
