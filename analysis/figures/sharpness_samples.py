"""Sharpness of one block over the number of samples, which shows how the data settle it (RUNS: of python -m hessian)."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _sharpness
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings
from analysis.style.drawing import caption, legend, log_axis, points, spread
from analysis.style.palette import in_order, matrices_in_order, styles

CAPTION = (
    "One block: λ of the final eigenvectors, the largest of the first n sequences in the span of the top Ritz vectors of all. "
    "λmax of n sequences, whose own eigenvector fits their noise, is larger. Bars: 95 % (jackknife over the n sequences). "
    "Points are shifted sideways to keep them apart; those ≤ 0 are left out."
)

read = _sharpness.read


def draw(blocks: pd.DataFrame) -> Figure:
    """λ of the final eigenvectors (`growth` of the records) of `middle_block`; one panel a setting."""
    figure, parts = _sharpness.figure_of_settings(blocks, 7.6)
    style_of = styles(blocks["variant"])
    for part, (_, of_setting) in zip(parts, block_settings(blocks), strict=True):
        block, axes = middle_block(of_setting), part.subplots()
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
    caption(figure, CAPTION)
    return figure


def _apart(point: dict[str, float], last: float) -> bool:
    """Whether a point is the last one, or not so close to it that they cannot be told apart."""
    return point["sequences"] == last or point["sequences"] < 0.8 * last


def middle_block(blocks: pd.DataFrame) -> pd.DataFrame:
    """The variants' rows of one block: of those with the most variants the first matrix, in the layer nearest the middle."""
    sizes = blocks.groupby(["matrix", "layer", "seed"])["variant"].nunique()
    order, middle = matrices_in_order(blocks["matrix"]), (blocks["layers"].max() - 1) / 2
    block = min(sizes.index, key=lambda b: (-sizes[b], order.index(b[0]), abs(b[1] - middle), b[1], b[2]))
    rows = blocks.set_index(["matrix", "layer", "seed"]).loc[[block]].reset_index().set_index("variant", drop=False)
    return rows.loc[in_order(rows["variant"])]
