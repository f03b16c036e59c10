"""The kinds of tables of a sweep, each as blocks to render and as a frame for CSV."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.stats.curves import BEST_RANGE
from analysis.stats.equivalence import MARGIN
from analysis.style.rendering import STYLES, Block, render
from analysis.tables import _over as over_table
from analysis.tables import cost as cost_table
from analysis.tables import cross_fitted as cross_fitted_table
from analysis.tables import difference as difference_table
from analysis.tables import grid as grid_table
from analysis.tables import peaks as peak_table


class Kind(NamedTuple):
    """A kind of table.

    Attributes:
        blocks: of a frame, and the notes below them.
        frame: its numbers at full precision; scores are fractions 0..1.
    """

    blocks: Callable[..., tuple[list[Block], list[str]]]
    frame: Callable[..., Any]


KINDS = {
    "peaks": Kind(peak_table.blocks, peak_table.frame),
    "grid": Kind(grid_table.blocks, grid_table.frame),
    "batch": Kind(over_table.of("batch_size"), over_table.frame_of("batch_size")),
    "rank": Kind(over_table.of("rank"), over_table.frame_of("rank")),
    "duration": Kind(over_table.of("duration"), over_table.frame_of("duration")),
    "difference": Kind(difference_table.blocks, difference_table.frame),
    "cross_fitted": Kind(cross_fitted_table.blocks, cross_fitted_table.frame),
    "cost": Kind(cost_table.blocks, cost_table.frame),
}


def table(
    frame: pd.DataFrame, kind: str = "peaks", style: str = "text", margin: float = MARGIN, within: float = BEST_RANGE
) -> str:
    """A table of `KINDS`.

    Args:
        frame: cells.
        kind: of `KINDS`.
        style: of `STYLES`, or "csv".
        margin: of "difference": that of the equivalence tests.
        within: of "peaks": how far below the peak the best range of learning rates reaches, a fraction.

    Raises:
        AnalysisError: if `margin` or `within` has no meaning, or there is nothing to show.
    """
    if not 0 <= within < 1:
        raise AnalysisError(f"the best range reaches from 0 to less than 100 percent below the peak, not {100 * within:g}")
    chosen = KINDS[kind]
    options = {"difference": {"margin": margin}, "peaks": {"within": within}}.get(kind, {})
    chosen = chosen._replace(frame=partial(chosen.frame, **options), blocks=partial(chosen.blocks, **options))
    if style == "csv":
        return str(chosen.frame(frame).to_csv(index=False))
    assert style in STYLES
    blocks, notes = chosen.blocks(frame)
    return render(blocks, [*notes, *unreadable(frame)], style)


def unreadable(frame: pd.DataFrame) -> list[str]:
    """The note on records that were skipped, if there are any."""
    count = frame.attrs.get("skipped")
    return [f"Left out, unreadable: {count}."] if count else []


def percent(value: float, digits: int = 2) -> str:
    """A fraction as percent, `-` for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f}"
