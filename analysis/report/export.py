"""Cells as one tidy CSV or Parquet, one row a cell."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.errors import AnalysisError
from analysis.style.sheets import as_csv

SUFFIXES = (".csv", ".parquet")


def export(frame: pd.DataFrame, path: Path, columns: Sequence[str] | None = None) -> int:
    """Write the cells, sorted by the columns, and return how many.

    Args:
        frame: of `read.load.load_records(..., wide=True)`; scores are fractions 0..1.
        path: its suffix, one of `SUFFIXES`, is the format.
        columns: which, and in which order; None: all.

    Raises:
        AnalysisError: another suffix, an unknown column or one named twice, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise AnalysisError(f"cannot export to {path}: its name must end in {' or '.join(SUFFIXES)}")
    frame = _with_metrics(frame.drop(columns="unwritten", errors="ignore"))  # the options themselves are columns
    if unknown := [name for name in columns or () if name not in frame]:
        raise AnalysisError(
            f"no column {', '.join(name or repr(name) for name in unknown)}; there are {', '.join(frame.columns)}"
        )
    if repeated := [name for i, name in enumerate(columns or ()) if name in (columns or ())[:i]]:
        raise AnalysisError(f"column {repeated[0]} is named twice")
    chosen = frame[list(columns)].sort_values(list(columns), kind="stable") if columns else frame
    try:
        if path.suffix.lower() == ".csv":
            as_csv(chosen, path, float_format="%.10g")
        else:
            chosen.to_parquet(path, index=False)
    except OSError as error:
        raise AnalysisError(f"cannot write {path} ({error.strerror or error})") from None
    return len(chosen)


def _with_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    """Each metric of the records in a column of its own, as recorded."""
    of_cells = [cell if isinstance(cell, dict) else {} for cell in frame.pop("metrics")] if "metrics" in frame else []
    names = sorted({name for of_cell in of_cells for name in of_cell})
    columns = {name: [of_cell[name].value if name in of_cell else math.nan for of_cell in of_cells] for name in names}
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
