"""Two sets of results, of other machines, versions or a paper: which cells differ beyond noise?"""

from collections import defaultdict
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.two_cells import by_means, by_problems
from analysis.read.options import SETTING, short
from analysis.stats.curves import same_lr, seed_means
from analysis.stats.equivalence import holm

CELL = [key for key in SETTING if key not in ("source", "options")] + ["options", "variant"]
"""Columns that the same cell has in both, besides the learning rate."""

MEANS = -1
"""Seed of a row that is a mean over seeds."""


def compare(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Cells that both have, and whether their test scores differ beyond noise.

    A cell is a variant of a setting at a learning rate, with the seeds that both have; it is tested once, over all of them
    (`questions.two_cells.by_problems`). Where either side holds means over seeds (published), the other's seeds are averaged,
    and the test is of means (`questions.two_cells.by_means`). p is Holm's over all cells.

    Args:
        one: A, of `read.load.load_together([A, B], wide=True)`: what names a cell must be the same in both.
        other: B.

    Returns:
        One row a cell: `CELL`, `lr`, the columns of `questions.two_cells`, and `versions` and `device` where they differ.
        `attrs["alone"]`: how many seeds of cells only A and only B have; `attrs["unlike"]`: settings in which matched cells
        differ, which name no cell as neither set varies them.

    Raises:
        AnalysisError: if the two have no cell in common.
    """
    means = any((frame["seed"] == MEANS).any() for frame in (one, other))
    left, right = (_means(frame) if means else _cells(frame) for frame in (one, other))
    alike = defaultdict(list)  # only cells that differ in no more than lr are looked through for it
    for (key, lr), seeds in right.items():
        alike[key].append((lr, seeds))
    options = sorted({name for frame in (one, other) for name in map(str, frame.columns) if "." in name})
    rows, unlike, matched, others = [], set(), 0, set[int]()
    for (key, lr), ours in left.items():
        theirs = next((seeds for rate, seeds in alike[key] if same_lr(lr, rate)), {})
        others |= ours.keys() ^ theirs.keys() if theirs else set()
        if shared := sorted(ours.keys() & theirs.keys()):
            pairs = [(ours[seed], theirs[seed]) for seed in shared]
            matched += len(pairs)
            unlike |= {f"{name} {told}" for name in options for told in _differing(name, pairs)}
            rows.append(dict(zip([*CELL, "lr"], [*key, lr], strict=True)) | (_of_means if means else _tested)(pairs))
    if not rows:
        alone = f", and of the same cells other seeds ({', '.join(map(str, sorted(others)))})" if others else ""
        raise AnalysisError(f"no cell in common: A has {_told(one)}; B has {_told(other)}{alone}")
    found = pd.DataFrame(rows)
    found["p"] = holm(found["p"].tolist())
    found.attrs["alone"] = tuple(sum(map(len, cells.values())) - matched for cells in (left, right))
    found.attrs["unlike"] = sorted(unlike)
    return found


def _key(row: Any) -> tuple[Any, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in CELL)


def _cells(frame: pd.DataFrame) -> dict[tuple[Any, float], dict[int, Any]]:
    found: dict[tuple[Any, float], dict[int, Any]] = defaultdict(dict)
    for row in frame[frame["status"] != "failed"].to_dict("records"):
        found[_key(row), row["lr"]][row["seed"]] = row
    return found


def _means(frame: pd.DataFrame) -> dict[tuple[Any, float], dict[int, Any]]:
    return {(_key(row), row["lr"]): {MEANS: row} for row in seed_means(frame).to_dict("records")}


def _of_means(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return by_means(*pairs[0])


def _tested(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    ones, others = zip(*pairs, strict=True)
    where = {name: "; ".join(sorted(_differing(name, pairs))) for name in ("versions", "device")}
    return by_problems(ones, others) | where


def _differing(name: str, pairs: list[tuple[Any, Any]]) -> set[str]:
    """What A and B have of a column, where it differs."""
    found = {(ours.get(name), theirs.get(name)) for ours, theirs in pairs}
    told = {(_shown(a), _shown(b)) for a, b in found if a != b}
    return {f"{a} | {b}" for a, b in told if a != b}  # two that are unset are none


def _shown(value: Any) -> str:
    return "unset" if value is None or value != value else short(str(value))


def _told(frame: pd.DataFrame) -> str:
    known = frame[["model", "task"]].drop_duplicates().itertuples(index=False)
    return f"{len(frame)} cells of " + ", ".join(f"{model} · {task}" for model, task in known)
