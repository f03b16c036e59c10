"""Three figures of a study: the ratio to LoRA over the layers, λmax by variant, λ over the number of samples."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.read.blocks import JOINT, REFERENCE, block_hyperparameters, block_settings, matrices_in_order, sequences
from analysis.style.drawing import GREY, INK, caption, casing, legend, log_axis, marker, points, spread
from analysis.style.labels import model_and_task
from analysis.style.palette import Style, in_order, styles
from hessian.report import by_layer
from lorabench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

DPI = 200
PANEL = (3.6, 2.8)
"""Inches: width and height of a panel of the first figure."""

COLUMNS, BOX_FROM = 4, 5
LAYERS = (
    "λmax over LoRA's of the same block (black line: LoRA). Bars: 95 % from the choice of sequences (jackknife); with several "
    "seeds the median, with bars over the intervals of all. Blocks where a λmax is not positive are left out."
)
BOX = (
    f"λmax of every block (a matrix of a layer), each a point. Box, from {BOX_FROM} points on: quartiles and median; whiskers: "
    "to the farthest point within 1.5 times the box. n ≤ 0: so many blocks that a logarithmic axis cannot show."
)
SAMPLES = (
    "One block: λ of the final eigenvectors, the largest of the first n sequences in the span of the top Ritz vectors of all. "
    "λmax of n sequences, whose own eigenvector fits their noise, is larger. Bars: 95 % (jackknife over the n sequences). "
    "Points are shifted sideways to keep them apart; those ≤ 0 are left out."
)


def save(frame: "pd.DataFrame", folder: Path) -> list[Path]:
    """Draw the three figures of the frame of ``analysis.read.blocks.load_blocks`` into a folder, which is made.

    Blocks of many matrices are shown only where there is nothing else; they have no layer.

    Raises:
        UserError: if the folder cannot be written.
    """
    single = frame[frame["layer"] != JOINT]
    figures = {"layers": layers, "box": box, "samples": samples} if len(single) else {"box": box, "samples": samples}
    files = []
    for name, draw in figures.items():
        files.append(folder / f"sharpness_{name}.png")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draw(single if len(single) else frame).savefig(files[-1], dpi=DPI)
        except OSError as error:
            raise UserError(f"cannot write {files[-1]} ({error.strerror}): choose another place with --out") from error
    return files


def layers(frame: "pd.DataFrame") -> "Figure":
    """The ratio to LoRA over the layers: one panel a matrix, one line a variant; each setting in rows of its own."""
    raw, frame = frame, by_layer(frame)
    shapes = [_grid(cells["matrix"].nunique()) for _, cells in block_settings(frame)]
    heights = [rows * PANEL[1] + 0.5 for rows, _ in shapes]
    width = max(columns for _, columns in shapes) * PANEL[0] + 1.4
    figure, parts = _figure(raw, max(width, 7), heights)
    style_of = styles(frame["variant"])
    for part, shape, (_, cells) in zip(parts, shapes, block_settings(frame), strict=True):
        panels = list(part.subplots(*shape, squeeze=False, sharex=True, sharey=True).flat)
        for axes, matrix in zip(panels, matrices_in_order(cells["matrix"]), strict=False):
            _ratios(axes, cells, matrix, style_of)
        for axes in panels[cells["matrix"].nunique() :]:
            axes.set_visible(False)
        for axes in panels[: cells["matrix"].nunique()][-shape[1] :]:
            axes.tick_params(axis="x", labelbottom=True)  # above an empty place, too
        part.supxlabel("decoder layer", fontsize=10)
        part.supylabel("λmax / λmax of LoRA", fontsize=10)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3)
    caption(figure, LAYERS)
    return figure


def _grid(panels: int) -> tuple[int, int]:
    columns = min(COLUMNS, panels)
    return math.ceil(panels / columns), columns


def _ratios(axes: "Axes", cells: "pd.DataFrame", matrix: str, style_of: dict[str, Style]) -> None:
    """One panel; its axes reach as far as those of all matrices of the setting, with which it shares them."""
    from matplotlib.ticker import MaxNLocator

    axes.axhline(1, color=style_of[REFERENCE].color if REFERENCE in style_of else INK, linewidth=1.5, zorder=1)
    others = cells[cells["variant"] != REFERENCE]
    variants = in_order(others["variant"])
    for index, variant in enumerate(variants):
        line = others[(others["variant"] == variant) & (others["matrix"] == matrix)].sort_values("layer")
        x = line["layer"] + spread(index, len(variants), 0.2)
        points(axes, x, line["ratio"], line["ratio_low"], line["ratio_high"], style_of[variant])
    log_axis(axes, "y", [1, *others["ratio"]], [*others["ratio_low"], *others["ratio_high"]])
    axes.set_xlim(cells["layer"].min() - 0.5, cells["layer"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(matrix, loc="left", fontsize=10)
    if others.loc[others["matrix"] == matrix, "ratio"].isna().all():
        axes.annotate("nothing to compare with LoRA", (0.5, 0.3), xycoords="axes fraction", ha="center", color=GREY, fontsize=9)


def box(frame: "pd.DataFrame") -> "Figure":
    """λmax of all blocks by variant on a log scale, as in paper 1 (arXiv 2602.04998); one panel a setting."""
    import numpy as np

    raw, frame = frame, by_layer(frame)
    style_of = styles(frame["variant"])
    figure, parts = _figure(raw, max(6.4, 0.9 * len(style_of) + 1.2))
    for part, (_, cells) in zip(parts, block_settings(frame), strict=True):
        axes = part.subplots()
        labels = []
        for place, variant in enumerate(in_order(cells["variant"])):
            values = cells.loc[cells["variant"] == variant, "lambda_max"].to_numpy()
            shown = values[values > 0]
            labels.append(variant if len(shown) == len(values) else f"{variant}\n{len(values) - len(shown)} ≤ 0")
            if len(shown):
                _box(axes, place, shown, style_of[variant].color)
            jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(shown))
            below = 2 if len(shown) >= BOX_FROM else 4  # a lone median must not hide its points
            axes.plot(place + jitter, shown, **marker(style_of[variant], 4), alpha=0.5, zorder=below)
        log_axis(axes, "y", cells["lambda_max"])
        axes.grid(False, axis="x")
        axes.set_xticks(range(len(labels)), labels, fontsize=9)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylabel("λmax")
    caption(figure, BOX)
    return figure


def _box(axes: "Axes", place: int, values: Any, color: str) -> None:
    """Over the points, so that the median is seen, which is all there is of few values."""
    line: dict[str, Any] = {"color": INK, "linewidth": 1, "zorder": 3}
    few = len(values) < BOX_FROM
    shown: dict[str, Any] = {"showfliers": False, "showcaps": not few, "showbox": not few, "whis": 0 if few else 1.5}
    lines: dict[str, Any] = dict.fromkeys(("whiskerprops", "capprops"), line)
    lines["boxprops"] = line | {"facecolor": (color, 0.15)}
    lines["medianprops"] = line | {"linewidth": 2.5, "path_effects": casing("white")}
    axes.boxplot(values, positions=[place], widths=0.62, patch_artist=True, manage_ticks=False, **shown, **lines)


def samples(frame: "pd.DataFrame") -> "Figure":
    """λ of the final eigenvectors of one block over the number of samples (``jackknife.growth``); one panel a setting.

    The block is of the first matrix in the middle layer.
    """
    import pandas as pd

    figure, parts = _figure(frame, 7.6)
    style_of = styles(frame["variant"])
    for part, (_, cells) in zip(parts, block_settings(frame), strict=True):
        block, axes = chosen(cells), part.subplots()
        ends = [max(point["sequences"] for point in growth) for growth in block["growth"]]
        drawn = pd.DataFrame([p for growth, n in zip(block["growth"], ends, strict=True) for p in growth if _apart(p, n)])
        for index, (variant, growth, n) in enumerate(zip(block["variant"], block["growth"], ends, strict=True)):
            line = pd.DataFrame([point for point in growth if _apart(point, n) and point["value"] > 0], columns=drawn.columns)
            x = line["sequences"] * 2 ** spread(index, len(block), 0.25)
            points(axes, x, line["value"], line["low"], line["high"], style_of[variant])
        counts = sorted(set(drawn["sequences"]))
        log_axis(axes, "x", [n * room for n in counts for room in (0.85, 1.18)])
        log_axis(axes, "y", drawn["value"], [*drawn["low"], *drawn["high"]])
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        first = block.iloc[0]
        place = first["matrix"] if first["layer"] == JOINT else f"layer {first['layer']} {first['matrix']}"
        axes.set_xlabel(f"sequences n, of {place}, seed {first['seed']}")
        axes.set_ylabel("λ of the final eigenvectors")
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3)
    caption(figure, SAMPLES)
    return figure


def _apart(point: dict[str, float], last: float) -> bool:
    """Whether a point is the last one, or not so close to it that they cannot be told apart."""
    return point["sequences"] == last or point["sequences"] < 0.8 * last


def chosen(cells: "pd.DataFrame") -> "pd.DataFrame":
    """The variants' rows of one block: of those with the most variants the first matrix, in the layer nearest the middle."""
    sizes = cells.groupby(["matrix", "layer", "seed"])["variant"].nunique()
    order, middle = matrices_in_order(cells["matrix"]), (cells["layers"].max() - 1) / 2
    block = min(sizes.index, key=lambda b: (-sizes[b], order.index(b[0]), abs(b[1] - middle), b[1], b[2]))
    rows = cells.set_index(["matrix", "layer", "seed"]).loc[[block]].reset_index().set_index("variant", drop=False)
    return rows.loc[in_order(rows["variant"])]


def _figure(frame: "pd.DataFrame", width: float, heights: Sequence[float] = ()) -> "tuple[Figure, list[SubFigure]]":
    """An empty figure with a titled part for every setting."""
    from matplotlib.figure import Figure

    settings = list(block_settings(frame))
    heights = heights or [4.2] * len(settings)  # inches
    figure = Figure(figsize=(width, sum(heights) + 0.5), layout="constrained")
    parts = list(figure.subfigures(len(settings), 1, height_ratios=heights, squeeze=False)[:, 0])
    for part, (setting, cells) in zip(parts, settings, strict=True):
        words = [model_and_task(setting), block_hyperparameters(setting), sequences(cells)]
        part.suptitle(" · ".join(filter(None, words)), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure, parts
