"""The table of a study: each variant's sharpness beside LoRA's, over the layers of each matrix and over all blocks."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.read.blocks import JOINT, REFERENCE, SETTING, block_hyperparameters, block_settings, matrices_in_order, sequences
from analysis.stats.correlation import LEVEL
from analysis.style.labels import model_and_task
from analysis.style.palette import in_order
from analysis.style.rendering import Block, number, render

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
"""Stands for all matrices."""

HEADER = ["matrix", "variant", "blocks", "ratio to LoRA", "min – max", "λmax", "λmin", "data s.e.", "not converged"]
ALIGN = "<<>>>>>>>"
NOTES = (
    "ratio to LoRA, λmax, λmin: medians over the blocks (one a layer and matrix; joint: many matrices as one block).",
    "[ ]: 95 % interval of the median by order statistics, as if blocks were independent; of fewer than 6 there is none, and "
    "min – max has to do.",
    "λmax is as exact as hessian.tol, λmin, a by-product, as its root (3 % for 1e-3) of the larger of the two.",
    "data s.e.: the largest standard error of a λmax from the choice of sequences (jackknife), relative to it. It says "
    "nothing of the other error of few sequences: their λmax is too large, since the eigenvector fits their noise.",
)
FORMATS = ("text", "markdown", "csv")


class Median(NamedTuple):
    """A median and where it lies.

    Attributes:
        value: NaN of no values, as are the ends.
        low: the lower end.
        high: the upper end.
        sure: whether the ends are an interval at ``LEVEL``; else they are the range of the values.
    """

    value: float
    low: float
    high: float
    sure: bool


def median(values: Sequence[float]) -> Median:
    """The median of the values that are not NaN, with the interval of the order statistics (inverted sign test).

    It reaches from the j-th smallest to the j-th largest value with the largest j for which 1 − 2·P(X < j) ≥ ``LEVEL``, X
    binomial(n, ½): no assumption on their distribution but that the values are independent (Conover 1999, section 3.2). Below
    n = 6 there is no such j, and the range takes its place.
    """
    import numpy as np
    from scipy.stats import binom

    known = np.sort([value for value in values if not math.isnan(value)])
    n = len(known)
    if n == 0:
        return Median(math.nan, math.nan, math.nan, False)
    j = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))
    sure, j = j >= 1, max(j, 1)
    return Median(float(np.median(known)), float(known[j - 1]), float(known[n - j]), sure)


def by_layer(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One row a block, the medians over its seeds: seeds of one block are no independent blocks."""
    import pandas as pd

    ends = {"ratio_low": "min", "ratio_high": "max", "seed": "nunique"}
    medians = dict.fromkeys(("ratio", "lambda_max", "lambda_min", "data"), "median")
    frame = frame.assign(
        data=frame["stderr"] / frame["lambda_max"].abs(), missed=~frame["converged"], lost=frame["ratio"].isna()
    )
    groups = frame.groupby([*SETTING, "variant", "matrix", "layer"])
    found: pd.DataFrame = groups.agg(medians | ends | {"missed": "sum", "lost": "sum"}).reset_index()
    return found


def summary(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The numbers of the table, of the frame of ``analysis.read.blocks.load_blocks``.

    Returns:
        One row per setting, matrix (``ALL`` first) and variant: ``blocks`` measured (one a layer), the median ``ratio`` to LoRA
        with ``ratio_low`` and ``ratio_high``, which are an interval of 95 % or, where ``ratio_interval`` is "range", of fewer
        than 6 layers; ``ratio_min``, ``ratio_max``; ``no_ratio``, records without one since a λmax is not positive; the medians
        of ``lambda_max`` and ``lambda_min``; ``data_stderr``, the largest standard error from the data relative to |λmax|;
        ``not_converged``, records that did not meet the stop rule; ``seeds``.
    """
    import pandas as pd

    rows = []
    for setting, cells in block_settings(by_layer(frame)):
        for matrix in [ALL, *matrices_in_order(cells["matrix"])]:
            mine = cells[cells["layer"] != JOINT] if matrix == ALL else cells[cells["matrix"] == matrix]
            for variant in in_order(mine["variant"]):
                rows.append(setting | {"matrix": matrix, "variant": variant} | _numbers(mine[mine["variant"] == variant]))
    return pd.DataFrame(rows)


def _numbers(blocks: "pd.DataFrame") -> dict[str, Any]:
    ratio = median(blocks["ratio"].tolist())
    return {
        "blocks": len(blocks),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "ratio_interval": "95%" if ratio.sure else "range",
        "ratio_min": blocks["ratio"].min(),
        "ratio_max": blocks["ratio"].max(),
        "no_ratio": int(blocks["lost"].sum()),
        "lambda_max": blocks["lambda_max"].median(),
        "lambda_min": blocks["lambda_min"].median(),
        "data_stderr": blocks["data"].max(),
        "not_converged": int(blocks["missed"].sum()),
        "seeds": int(blocks["seed"].max()),
    }


def table(frame: "pd.DataFrame", style: str = "text") -> str:
    """The summary in one of ``FORMATS``; CSV holds all its columns at full precision."""
    numbers = summary(frame)
    if style == "csv":
        return numbers.to_csv(index=False)
    measured = {tuple(setting.values()): cells for setting, cells in block_settings(frame)}
    blocks = []
    for setting, rows in block_settings(numbers):
        several = rows["matrix"].nunique() > 2
        body = [_cells(row) for row in rows.to_dict("records") if several or row["matrix"] != ALL]
        title, subtitle = model_and_task(setting), block_hyperparameters(setting)
        blocks.append(Block(title, subtitle, HEADER, ALIGN, body, _remarks(rows) + _uneven(measured[tuple(setting.values())])))
    return render(blocks, NOTES, style)


def _cells(row: "dict[Any, Any]") -> list[str]:
    known = row["variant"] != REFERENCE and not math.isnan(row["ratio"])
    sure = f" [{number(row['ratio_low'])}, {number(row['ratio_high'])}]" if row["ratio_interval"] == "95%" else ""
    return [
        row["matrix"],
        row["variant"],
        str(row["blocks"]),
        number(row["ratio"]) + (sure if known else ""),
        f"{number(row['ratio_min'])} – {number(row['ratio_max'])}" if known and row["blocks"] > 1 else "-",
        number(row["lambda_max"]),
        number(row["lambda_min"]),
        f"{100 * row['data_stderr']:.1f} %",
        str(row["not_converged"]),
    ]


def _remarks(rows: "pd.DataFrame") -> list[str]:
    """What makes the rows of one setting hard to compare."""
    remarks = []
    total = rows[rows["matrix"] == ALL]
    if rows["seeds"].max() > 1:
        remarks.append(f"A block counts once, with the median over its seeds (up to {rows['seeds'].max()}).")
    if total["blocks"].nunique() > 1:
        remarks.append(f"The variants were not measured at the same blocks: {_counts(total, 'blocks')}.")
    if total["no_ratio"].any():
        lost = total[total["no_ratio"] > 0]
        why = "one of the two λmax is not positive"
        if not (total["variant"] == REFERENCE).any():
            why = f"there is no block of {REFERENCE} beside them"
        remarks.append(f"Records without a ratio, since {why}: {_counts(lost, 'no_ratio')}.")
    return remarks


def _uneven(cells: "pd.DataFrame") -> list[str]:
    """Where not all blocks are of the same number of sequences."""
    remarks = [f"Blocks were measured on {counts}." for counts in [sequences(cells)] if counts]
    mixed = cells.groupby(["matrix", "layer", "seed"])["sequences"].nunique() > 1
    if mixed.any():
        remarks.append(
            f"Not on the same for all variants: {', '.join(f'layer {n} {matrix}' for matrix, n, _ in mixed[mixed].index)}; run "
            "these variants together, or their ratios are to another LoRA."
        )
    return remarks


def _counts(rows: "pd.DataFrame", column: str) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(rows["variant"], rows[column], strict=True))
