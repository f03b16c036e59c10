"""Published cells, a CSV of means, as rows like those of records."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.form import INT64, LARGEST, SMALLEST

CELL = ("source", "model", "task", "variant", "rank", "batch_size", "train_samples", "learning_rate")
COLUMNS = ("source", "model", "task", "variant", "rank", "batch_size", "train_samples", "seeds", "learning_rate", "mean", "std")


def is_published(directory: Path) -> bool:
    """Whether a folder holds CSVs of cells."""
    return any(map(_header, directory.glob("*.csv")))


def read_published(directory: Path) -> list[dict[str, Any]]:
    """One row a cell of every CSV with `COLUMNS`; other CSVs are none of ours.

    Returns:
        Rows as those of `read.record.read_row`, with `source`, the `n` seeds behind a row and `test_std`, a fraction, NaN
        where there is none. There is no validation score, no base model, and nothing of the cost.

    Raises:
        AnalysisError: with file and line, if a value is no number or an impossible one, a name is missing, or a file has a
            cell twice.
    """
    rows = []
    for path in sorted(path for path in directory.glob("*.csv") if _header(path)):
        try:
            frame = pd.read_csv(path)
        except ValueError as error:
            raise AnalysisError(f"{path}: {str(error).strip()}") from None
        repeated = frame.duplicated(list(CELL))
        for place, cell in enumerate(frame.to_dict("records"), start=2):
            try:
                rows.append(_row(cell) | {"id": f"{path.stem}:{place}", "path": str(path)})
            except ValueError as error:
                raise AnalysisError(f"{path}, line {place}: {error}") from None
            if repeated[place - 2]:
                raise AnalysisError(f"{path}, line {place}: the cell of an earlier line again")
    return rows


def _header(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as lines:
        return set(COLUMNS) <= set(lines.readline().strip().split(","))


def _row(cell: Any) -> dict[str, Any]:
    if empty := [name for name in ("source", "model", "task", "variant") if not isinstance(cell[name], str)]:
        raise ValueError(f"{empty[0]} is {cell[empty[0]]}, not a name")
    return {
        "finished": "",
        "status": "complete",
        "source": str(cell["source"]),
        "model": str(cell["model"]),
        "task": str(cell["task"]),
        "variant": str(cell["variant"]),
        "rank": _whole(cell, "rank"),
        "batch_size": _whole(cell, "batch_size"),
        "train_samples": None if _empty(cell, "train_samples") else _whole(cell, "train_samples"),
        "epochs": 1.0,
        "lr": _number(cell, "learning_rate", SMALLEST, LARGEST, "a positive number"),
        "seed": -1,
        "n": 1 if _empty(cell, "seeds") else _whole(cell, "seeds"),
        "train_fraction": 1.0,
        "subset": "all",
        "test": _number(cell, "mean", 0, 100, "a percentage") / 100,
        "test_std": math.nan if _empty(cell, "std") else _number(cell, "std", 0, 100, "a deviation of percentages") / 100,
        "validation": math.nan,
        "base_test": math.nan,
        "seconds": math.nan,
        "weights": "pretrained",
        "fingerprint": "",
        "variant_options": {},
        "setting_options": {},
    }


def _empty(cell: Any, name: str) -> bool:
    return isinstance(cell[name], float) and math.isnan(cell[name])


def _whole(cell: Any, name: str) -> int:
    expected = "a whole number of 1 or more"
    value = _number(cell, name, 1, INT64 - 1023, expected)  # the largest float that 64 bits hold
    if not value.is_integer():
        raise ValueError(f"{name} is {cell[name]}, not {expected}")
    return int(value)


def _number(cell: Any, name: str, low: float, high: float, expected: str) -> float:
    try:
        value = float(cell[name])
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f"{name} is {cell[name]}, not {expected}")
    return value
