"""Sharpness of each variant beside LoRA's, over the layers of each matrix and over all blocks (RUNS: of python -m hessian)."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.read import REFERENCE
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings, load_blocks
from analysis.stats.layers import by_layer
from analysis.stats.order_statistics import median
from analysis.style.numbers import number
from analysis.style.palette import in_order, matrices_in_order
from analysis.style.rendering import Block
from analysis.style.settings import block_hyperparameters, model_and_task, sequences

ALL = "all"
"""Stands for all matrices."""

HEADER = ["matrix", "variant", "blocks", "ratio to LoRA", "min – max", "λmax", "λmin", "data s.e.", "not converged"]
ALIGN = "<<>>>>>>>"
NOTES = [
    "ratio to LoRA, λmax, λmin: medians over the blocks (one a layer and matrix; joint: many matrices as one block).",
    "[ ]: 95 % interval of the median by order statistics, as if blocks were independent; of fewer than 6 there is none, and "
    "min – max has to do.",
    "λmax is as exact as hessian.tol, λmin, a by-product, as its root (3 % for 1e-3) of the larger of the two.",
    "data s.e.: the largest standard error of a λmax from the choice of sequences (jackknife), relative to it. It says "
    "nothing of the other error of few sequences: their λmax is too large, since the eigenvector fits their noise.",
]


def read(runs: Path, published: Path | None) -> pd.DataFrame:
    """The blocks; no published cell has any."""
    return load_blocks(runs)


def frame(blocks: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the table, of the frame of `read.blocks.load_blocks`.

    Returns:
        One row per setting, matrix (`ALL` first) and variant: `blocks` measured (one a layer), the median `ratio` to LoRA
        with `ratio_low` and `ratio_high`, which are an interval of 95 % or, where `ratio_interval` is "range", of fewer
        than 6 layers; `ratio_min`, `ratio_max`; `no_ratio`, records without one since a λmax is not positive; the medians
        of `lambda_max` and `lambda_min`; `data_stderr`, the largest standard error from the data relative to |λmax|;
        `not_converged`, records that did not meet the stop rule; `seeds`.
    """
    rows = []
    for setting, layers in block_settings(by_layer(blocks)):
        for matrix in [ALL, *matrices_in_order(layers["matrix"])]:
            of_matrix = layers[layers["layer"] != JOINT] if matrix == ALL else layers[layers["matrix"] == matrix]
            for variant in in_order(of_matrix["variant"]):
                numbers = _numbers(of_matrix[of_matrix["variant"] == variant])
                rows.append(setting | {"matrix": matrix, "variant": variant} | numbers)
    return pd.DataFrame(rows)


def _numbers(layers: pd.DataFrame) -> dict[str, Any]:
    ratio = median(layers["ratio"].tolist())
    return {
        "blocks": len(layers),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "ratio_interval": "95%" if ratio.sure else "range",
        "ratio_min": layers["ratio"].min(),
        "ratio_max": layers["ratio"].max(),
        "no_ratio": int(layers["lost"].sum()),
        "lambda_max": layers["lambda_max"].median(),
        "lambda_min": layers["lambda_min"].median(),
        "data_stderr": layers["data"].max(),
        "not_converged": int(layers["missed"].sum()),
        "seeds": int(layers["seed"].max()),
    }


def blocks(measured: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block a setting, one line a matrix and variant; those of all matrices are left out where there is one."""
    of_setting = {tuple(setting.values()): rows for setting, rows in block_settings(measured)}
    tables = []
    for setting, rows in block_settings(frame(measured)):
        several = rows["matrix"].nunique() > 2
        lines = [_cells(row) for row in rows.to_dict("records") if several or row["matrix"] != ALL]
        title, subtitle = model_and_task(setting), block_hyperparameters(setting)
        remarks = _remarks(rows) + _uneven(of_setting[tuple(setting.values())])
        tables.append(Block(title, subtitle, HEADER, ALIGN, lines, remarks))
    return tables, NOTES


def _cells(row: dict[Any, Any]) -> list[str]:
    compared = row["variant"] != REFERENCE and not math.isnan(row["ratio"])
    sure = f" [{number(row['ratio_low'])}, {number(row['ratio_high'])}]" if row["ratio_interval"] == "95%" else ""
    return [
        row["matrix"],
        row["variant"],
        str(row["blocks"]),
        number(row["ratio"]) + (sure if compared else ""),
        f"{number(row['ratio_min'])} – {number(row['ratio_max'])}" if compared and row["blocks"] > 1 else "-",
        number(row["lambda_max"]),
        number(row["lambda_min"]),
        f"{100 * row['data_stderr']:.1f} %",
        str(row["not_converged"]),
    ]


def _remarks(rows: pd.DataFrame) -> list[str]:
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


def _uneven(measured: pd.DataFrame) -> list[str]:
    """Where not all blocks are of the same number of sequences."""
    remarks = [f"Blocks were measured on {counts}." for counts in [sequences(measured)] if counts]
    mixed = measured.groupby(["matrix", "layer", "seed"])["sequences"].nunique() > 1
    if mixed.any():
        remarks.append(
            f"Not on the same for all variants: {', '.join(f'layer {n} {matrix}' for matrix, n, _ in mixed[mixed].index)}; run "
            "these variants together, or their ratios are to another LoRA."
        )
    return remarks


def _counts(rows: pd.DataFrame, column: str) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(rows["variant"], rows[column], strict=True))
