"""What the figures of Hessian blocks share: which blocks they show, and a titled part for every setting."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.read.block import JOINT
from analysis.read.blocks import block_settings, load_blocks
from analysis.style.settings import block_hyperparameters, model_and_task, sequences

HEIGHT = 4.2
"""Inches of a part."""


def read(runs: Path, published: Path | None = None) -> pd.DataFrame:
    """The blocks of a folder of `python -m hessian`; those of many matrices only where there is nothing else."""
    blocks = load_blocks(runs)
    single = blocks[blocks["layer"] != JOINT]
    return single if len(single) else blocks


def figure_of_settings(blocks: pd.DataFrame, width: float, heights: Sequence[float] = ()) -> tuple[Figure, list[SubFigure]]:
    """An empty figure with a titled part for every setting; width and heights in inches."""
    settings = list(block_settings(blocks))
    heights = heights or [HEIGHT] * len(settings)
    figure = Figure(figsize=(width, sum(heights) + 0.5), layout="constrained")
    parts = list(figure.subfigures(len(settings), 1, height_ratios=heights, squeeze=False)[:, 0])
    for part, (setting, of_setting) in zip(parts, settings, strict=True):
        words = [model_and_task(setting), block_hyperparameters(setting), sequences(of_setting)]
        part.suptitle(" · ".join(filter(None, words)), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure, parts
