"""Two sets of results, of other machines, versions or a paper: which cells differ beyond noise?"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.spread import MEANS, spread
from analysis.questions.two_cells import by_means, by_problems
from analysis.read.options import SETTING, short
from analysis.stats import ALPHA
from analysis.stats.curves import same_lr, seed_means
from analysis.stats.equivalence import holm
from analysis.style.notes import published
from analysis.style.numbers import format_lr, number
from analysis.style.rendering import Block, render
from analysis.style.settings import model_and_task

CELL = [key for key in SETTING if key not in ("source", "options")] + ["options", "variant"]
"""Columns that the same cell has in both, besides the learning rate."""

OF_DATA = ("data_seed", "sampling")
"""Columns that say which data a cell's seeds share, where they do."""


def compare(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Cells that both have, and whether their test scores differ beyond noise.

    A cell is a variant of a setting at a learning rate, with the seeds that both have; it is tested once, over all of them
    (`questions.two_cells.by_problems`). Where either side holds means over seeds (published), the other's seeds are averaged,
    and the test is of means (`questions.two_cells.by_means`). p is Holm's over all cells.

    Args:
        a: of `read.load.load_together([A, B], wide=True)`: what names a cell must be the same in both.
        b: the other.

    Returns:
        One row a cell: `CELL`, `lr`, the columns of `questions.two_cells`, and `versions` and `device` where they differ.
        `attrs["alone"]`: how many seeds of cells only A and only B have; `attrs["unlike"]`: settings in which matched cells
        differ, which name no cell as neither set varies them; `attrs["spreads"]`: what the ± of A's and of B's seeds holds,
        where means are compared.

    Raises:
        AnalysisError: if the two have no cell in common.
    """
    means = any((frame["seed"] == MEANS).any() for frame in (a, b))
    left, right = (_means(frame) if means else _cells(frame) for frame in (a, b))
    alike = defaultdict(list)  # only cells that differ in no more than lr are looked through for it
    for (key, lr), seeds in right.items():
        alike[key].append((lr, seeds))
    options = sorted({name for frame in (a, b) for name in map(str, frame.columns) if "." in name or name in OF_DATA})
    rows, unlike, matched, unshared = [], set(), 0, set[int]()
    cells_a, cells_b = set[Any](), set[Any]()
    for (key, lr), seeds_a in left.items():
        lr_b, seeds_b = next(((rate, seeds) for rate, seeds in alike[key] if same_lr(lr, rate)), (lr, {}))
        unshared |= seeds_a.keys() ^ seeds_b.keys() if seeds_b else set()
        if shared := sorted(seeds_a.keys() & seeds_b.keys()):
            pairs = [(seeds_a[seed], seeds_b[seed]) for seed in shared]
            matched += len(pairs)
            cells_a.add((key, lr))
            cells_b.add((key, lr_b))
            unlike |= {f"{name} {values}" for name in options for values in _differing(name, pairs)}
            rows.append(dict(zip([*CELL, "lr"], [*key, lr], strict=True)) | (_of_means if means else _test_pairs)(pairs))
    if not rows:
        alone = f", and of the same cells other seeds ({', '.join(map(str, sorted(unshared)))})" if unshared else ""
        raise AnalysisError(f"no cell in common: A has {_describe(a)}; B has {_describe(b)}{alone}")
    cells = pd.DataFrame(rows)
    cells["p"] = holm(cells["p"].tolist())
    cells.attrs["alone"] = tuple(sum(map(len, of_side.values())) - matched for of_side in (left, right))
    cells.attrs["unlike"] = sorted(unlike)
    cells.attrs["notes"] = [*a.attrs.get("scores", []), *published([*a["source"], *b["source"]])]
    cells.attrs["spreads"] = (_spread(a, cells_a), _spread(b, cells_b)) if means else ()
    return cells


def _spread(frame: pd.DataFrame, matched: set[tuple[Any, float]]) -> str:
    """What the ± of the matched cells holds (`questions.spread`)."""
    rows = frame[frame["status"] != "failed"].to_dict("records")
    return spread(row for row in rows if (_key(row), row["lr"]) in matched)


def _key(row: Any) -> tuple[Any, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in CELL)


def _cells(frame: pd.DataFrame) -> dict[tuple[Any, float], dict[int, Any]]:
    cells: dict[tuple[Any, float], dict[int, Any]] = defaultdict(dict)
    for row in frame[frame["status"] != "failed"].to_dict("records"):
        cells[_key(row), row["lr"]][row["seed"]] = row
    return cells


def _means(frame: pd.DataFrame) -> dict[tuple[Any, float], dict[int, Any]]:
    return {(_key(row), row["lr"]): {MEANS: row} for row in seed_means(frame).to_dict("records")}


def _of_means(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return by_means(*pairs[0])


def _test_pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    of_a, of_b = zip(*pairs, strict=True)
    where = {name: "; ".join(sorted(_differing(name, pairs))) for name in ("versions", "device")}
    return by_problems(of_a, of_b) | where


def _differing(name: str, pairs: list[tuple[Any, Any]]) -> set[str]:
    """What A and B have of a column, where it differs."""
    pairs_of_values = {(of_a.get(name), of_b.get(name)) for of_a, of_b in pairs}
    texts = {(_as_text(a), _as_text(b)) for a, b in pairs_of_values if a != b}
    return {f"{a} | {b}" for a, b in texts if a != b}  # two that are unset are none


def _as_text(value: Any) -> str:
    return "unset" if value is None or value != value else short(str(value))


def _describe(frame: pd.DataFrame) -> str:
    tasks = frame[["model", "task"]].drop_duplicates().itertuples(index=False)
    return f"{len(frame)} cells of " + ", ".join(f"{model} · {task}" for model, task in tasks)


NOISE = {
    "one seed": "One shared seed: by the noise of the test problems (McNemar; a paired t-test where sets are unequally large "
    "or scores graded; proportions without the same completions); another training is not in it.",
    "several": "Several shared seeds: by the noise of training and of the test problems.",
    "seeds": "Means over seeds: by the noise of training (Welch); that of the test problems is not in it.",
}


def text(cells: pd.DataFrame, names: tuple[str, str]) -> str:
    """A count and the cells that differ, the clearest first."""
    clear = cells[cells["p"] < ALPHA].sort_values("p")
    header = ["cell", "lr", "seeds", f"A: {names[0]}", f"B: {names[1]}", "B - A", "p (Holm)", "by"]
    rows = [_row(row) for row in clear.to_dict("records")]
    remarks = [
        f"{len(cells)} cells in both; {int(cells['same'].sum())} the same on every problem; {len(rows)} differ beyond noise."
    ]
    if diverged := int((cells["how"] == "diverged").sum()):
        remarks.append(f"Diverged in both: {diverged}.")
    if any(alone := cells.attrs["alone"]):
        remarks.append(f"Only in A: {alone[0]}; only in B: {alone[1]} (each seed counted).")
    untested = int(cells["p"].isna().sum())
    if untested:
        remarks.append(f"Not tested, for nothing tells their noise: {untested}.")
    remarks.append(f"B - A: mean {100 * cells['difference'].mean():+.2f} points, largest {_largest(cells['difference']):+.2f}.")
    differing = {name: sorted(set(cells[name].dropna()) - {""}) for name in ("versions", "device") if name in cells}
    for name, values in ({"settings": cells.attrs["unlike"]} | differing).items():
        if values:
            remarks.append(f"Other {name}: {'; '.join(values[:3])}{' …' if len(values) > 3 else ''}.")
    notes = [f"p is corrected for {len(cells) - untested} cells; listed below {ALPHA:g}.", *_noise(cells)]
    notes += cells.attrs["notes"]
    if spreads := cells.attrs["spreads"]:
        notes.append(f"± over seeds is noise of, A: {spreads[0]} | B: {spreads[1]}.")
    rows = rows or [["none", "", "", "", "", "", "", ""]]
    return render([Block("Cells that differ", "test scores in percent", header, "<<>>>>><", rows, remarks)], notes, "text")


def _noise(cells: pd.DataFrame) -> list[str]:
    """What noise the tests cover, of those that were made."""
    tests = cells[["how", "seeds"]].drop_duplicates().itertuples(index=False)
    kinds = {"seeds" if how == "seeds" else "several" if seeds > 1 else "one seed" for how, seeds in tests if how}
    return [meaning for kind, meaning in NOISE.items() if kind in kinds]


def _largest(values: Iterable[float]) -> float:
    return 100 * max(values, key=abs)


def _row(row: dict[Any, Any]) -> list[str]:
    setting = f"{model_and_task(row)} · {row['variant']} · rank {row['rank']} · batch {row['batch_size']}"
    setting += f" · {row['options']}" if row["options"] else ""
    scores = [f"{100 * row[name]:.2f}" for name in ("a", "b")]
    return [
        setting,
        format_lr(row["lr"]),
        str(row["seeds"]),
        *scores,
        f"{100 * row['difference']:+.2f}",
        number(row["p"]),
        row["how"],
    ]
