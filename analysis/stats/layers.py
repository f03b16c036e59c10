"""Hessian blocks of several seeds → one row a block."""

import pandas as pd

from analysis.read.blocks import SETTING


def by_layer(blocks: pd.DataFrame) -> pd.DataFrame:
    """One row a block, the medians over its seeds: seeds of one block are no independent blocks.

    Args:
        blocks: of `read.blocks.load_blocks`.

    Returns:
        `SETTING`, `variant`, `matrix`, `layer`; medians of `ratio`, `lambda_max`, `lambda_min` and `data`, the standard error
        from the data relative to |λmax|; `ratio_low`, `ratio_high`, the ends of all intervals; `seed`, how many; `missed` and
        `lost`, records that did not converge, and that have no ratio.
    """
    ends = {"ratio_low": "min", "ratio_high": "max", "seed": "nunique"}
    medians = dict.fromkeys(("ratio", "lambda_max", "lambda_min", "data"), "median")
    blocks = blocks.assign(
        data=blocks["stderr"] / blocks["lambda_max"].abs(), missed=~blocks["converged"], lost=blocks["ratio"].isna()
    )
    groups = blocks.groupby([*SETTING, "variant", "matrix", "layer"])
    layers: pd.DataFrame = groups.agg(medians | ends | {"missed": "sum", "lost": "sum"}).reset_index()
    return layers
