"""Scores of single test problems, from the completions that a cell leaves beside its record."""

from __future__ import annotations

import gzip
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

COMPLETIONS = "completions.jsonl.gz"


def completions(record: str | Path, split: str = "test") -> Iterator[dict[str, Any]]:
    """The completions of a cell, by the path of its record: dicts of `set`, `id`, `prompt`, `completion`, `gold`, `score`.

    A file that is missing or was cut short yields what there is of it.
    """
    path = Path(record).parent / COMPLETIONS
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                found = json.loads(line)
                if found.get("split") == split:
                    yield found
    except (OSError, EOFError, ValueError):
        return


@lru_cache(maxsize=16384)
def scores(record: str) -> dict[str, dict[str, float]]:
    """Score of each test problem, by set and id; empty where a cell has none."""
    found: dict[str, dict[str, float]] = {}
    for one in completions(record):
        if isinstance(one.get("score"), (int, float)):
            # Thousands of cells answer the same problems: one string each.
            found.setdefault(str(one["set"]), {})[sys.intern(str(one["id"]))] = float(one["score"])
    return found


def aligned(records: Sequence[Sequence[str]]) -> tuple[list[list[np.ndarray]], list[list[str]]]:
    """Scores of several models on the problems that all of their cells have.

    Args:
        records: for each model the records of its seeds; as many of each.

    Returns:
        For each model and test set the scores [seeds, problems], and the ids of each set's problems. Without a common
        problem both are empty.
    """
    import numpy as np

    known = [[scores(record) for record in of_model] for of_model in records]
    every = [cell for of_model in known for cell in of_model]
    sets = sorted(set.intersection(*(set(cell) for cell in every))) if every else []
    ids = {name: sorted(set.intersection(*(set(cell[name]) for cell in every))) for name in sets}
    ids = {name: each for name, each in ids.items() if each}
    arrays = [[np.array([[cell[name][i] for i in ids[name]] for cell in of_model]) for name in ids] for of_model in known]
    return (arrays, list(ids.values())) if ids else ([], [])
