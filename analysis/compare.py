"""Two sets of results, of other machines, versions or a paper: which cells differ beyond noise?"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from analysis.equivalence import ALPHA, holm
from analysis.errors import AnalysisError
from analysis.examples import scores
from analysis.labels import format_lr, model_and_task
from analysis.options import SETTING
from analysis.rendering import Block, number, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

CELL = [key for key in SETTING if key not in ("source", "options")] + ["options", "variant"]
"""Columns that the same cell has in both, besides learning rate and seed."""

RELATIVE = 1e-3
"""Learning rates so near are the same: papers round them."""


def compare(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Cells that both have, and whether their test scores differ beyond noise.

    Own cells are matched by seed. If both left completions, the test is McNemar's exact one over their common problems, where
    the scores are right or wrong; else the two-sided z-test of two proportions of that many problems. Where one side is a mean
    over seeds (published), the other's seeds are averaged, and the test is Welch's, by the standard deviations over seeds; with
    a single seed on a side, the other side's deviation stands for both. p is Holm's over all cells.

    Returns:
        One row a cell: `CELL`, `lr`, `seed` (-1: means), `a`, `b` (fractions), `difference` (b − a), `how` ("mcnemar",
        "proportions", "seeds" or "" where nothing tells the noise), `p`, `same` (to the last problem), `versions` and `device`
        where they differ. `attrs["alone"]`: how many cells only A and only B have; `attrs["unlike"]`: settings in which
        matched cells differ, which `CELL` does not hold (it names what differs within one set), where the frames are
        `analysis.load.load_records(..., wide=True)`.

    Raises:
        AnalysisError: if the two have no cell in common.
    """
    import pandas as pd

    means = bool((one["n"] > 1).any() or (other["n"] > 1).any())
    left, right = (_means(frame) if means else _cells(frame) for frame in (one, other))
    alike = defaultdict(list)  # only cells that differ in no more than lr are looked through for it
    for (*rest, lr, seed), b in right.items():
        alike[(*rest, seed)].append((lr, b))
    options = {name for frame in (one, other) for name in map(str, frame.columns) if "." in name}
    rows, unlike = [], set()
    for (*rest, lr, seed), a in left.items():
        near = [b for rate, b in alike[(*rest, seed)] if math.isclose(lr, rate, rel_tol=RELATIVE)]
        if near:
            unlike |= {
                f"{name} {a.get(name)} | {near[0].get(name)}" for name in options if str(a.get(name)) != str(near[0].get(name))
            }
            rows.append(dict(zip([*CELL, "lr", "seed"], [*rest, lr, seed], strict=True)) | _tested(a, near[0]))
    if not rows:
        raise AnalysisError(f"no cell in common: A has {_told(one)}; B has {_told(other)}")
    found = pd.DataFrame(rows)
    found["p"] = holm(found["p"].tolist())
    found.attrs["alone"] = (len(left) - len(rows), len(right) - len(rows))
    found.attrs["unlike"] = sorted(unlike)
    return found


def _key(row: Any) -> list[Any]:
    return [None if value is None or value != value else value for value in (_plain(row[name]) for name in CELL)]


def _plain(value: Any) -> Any:
    import pandas as pd

    return None if value is pd.NA else value


def _cells(frame: pd.DataFrame) -> dict[tuple[Any, ...], Any]:
    rows = frame[frame["status"] != "failed"].to_dict("records")
    return {(*_key(row), row["lr"], row["seed"]): row for row in rows}


def _means(frame: pd.DataFrame) -> dict[tuple[Any, ...], Any]:
    from analysis.stats import seed_means

    found = {}
    for row in seed_means(frame).to_dict("records"):
        told = {"test": row["test_mean"], "std": row["test_std"], "n": row["n"], "status": "complete"}
        found[(*_key(row), row["lr"], -1)] = told
    return found


def _tested(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"a": a["test"], "b": b["test"], "difference": b["test"] - a["test"], "same": False}
    if "std" in a:
        return row | _by_seeds(a, b)
    for name in ("versions", "device"):
        row[name] = "" if a[name] == b[name] else f"{a[name]} | {b[name]}"
    if a["status"] == b["status"] == "diverged":
        return row | {"how": "mcnemar", "p": 1.0, "same": True}
    ours, theirs = scores(str(a["path"])), scores(str(b["path"]))
    pairs = [(ours[k][i], theirs[k][i]) for k in ours.keys() & theirs.keys() for i in ours[k].keys() & theirs[k].keys()]
    if pairs and all(score in (0, 1) for pair in pairs for score in pair):
        from scipy.stats import binomtest

        up, down = sum(x < y for x, y in pairs), sum(x > y for x, y in pairs)
        p = binomtest(up, up + down).pvalue if up + down else 1.0
        return row | {"how": "mcnemar", "p": float(p), "same": up + down == 0}
    return row | _by_problems(a, b)


def _by_problems(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    from scipy.stats import norm

    if math.isnan(a["problems"]) or math.isnan(b["problems"]):
        return {"how": "", "p": math.nan}
    n, m = a["problems"], b["problems"]
    pooled = (a["test"] * n + b["test"] * m) / (n + m)
    stderr = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p = 2 * float(norm.sf(abs(b["test"] - a["test"]) / stderr)) if stderr else float(a["test"] == b["test"])
    return {"how": "proportions", "p": p}


def _by_seeds(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    from scipy.stats import t

    known = [(side["std"], side["n"]) for side in (a, b) if side["n"] > 1 and not math.isnan(side["std"])]
    if not known:
        return {"how": "", "p": math.nan}
    parts = []
    for side in (a, b):
        std = side["std"] if side["n"] > 1 and not math.isnan(side["std"]) else known[0][0]
        parts.append(std**2 / side["n"])
    stderr = math.sqrt(sum(parts))
    if len(known) == 1:
        df = known[0][1] - 1
    else:
        terms = sum(part**2 / (n - 1) for part, (_, n) in zip(parts, known, strict=True))
        df = stderr**4 / terms if terms else sum(n for _, n in known) - 2
    p = 2 * float(t.sf(abs(b["test"] - a["test"]) / stderr, df)) if stderr else float(a["test"] == b["test"])
    return {"how": "seeds", "p": p}


def _told(frame: pd.DataFrame) -> str:
    known = frame[["model", "task"]].drop_duplicates().itertuples(index=False)
    return f"{len(frame)} cells of " + ", ".join(f"{model} · {task}" for model, task in known)


def text(found: pd.DataFrame, names: tuple[str, str]) -> str:
    """A count and the cells that differ, the clearest first."""
    clear = found[found["p"] < ALPHA].sort_values("p")
    header = ["cell", "lr", "seed", f"A: {names[0]}", f"B: {names[1]}", "B - A", "p (Holm)", "by"]
    rows = [_row(row) for row in clear.to_dict("records")]
    remarks = [
        f"{len(found)} cells in both; {int(found['same'].sum())} the same on every problem; {len(rows)} differ beyond noise."
    ]
    if any(alone := found.attrs["alone"]):
        remarks.append(f"Only in A: {alone[0]}; only in B: {alone[1]}.")
    if untested := int(found["p"].isna().sum()):
        remarks.append(f"Not tested, for nothing tells their noise: {untested}.")
    remarks.append(f"B - A: mean {100 * found['difference'].mean():+.2f} points, largest {_largest(found['difference']):+.2f}.")
    differing = {name: sorted(set(found[name].dropna()) - {""}) for name in ("versions", "device") if name in found}
    for name, told in ({"settings": found.attrs["unlike"]} | differing).items():
        if told:
            remarks.append(f"Other {name}: {'; '.join(told[:3])}{' …' if len(told) > 3 else ''}.")
    notes = [f"p: McNemar, two proportions, or Welch over seeds, corrected for {len(found)} cells; listed below {ALPHA:g}."]
    rows = rows or [["none", "", "", "", "", "", "", ""]]
    return render([Block("Cells that differ", "test scores in percent", header, "<<>>>>><", rows, remarks)], notes, "text")


def _largest(values: Iterable[float]) -> float:
    return 100 * max(values, key=abs)


def _row(row: dict[Any, Any]) -> list[str]:
    setting = f"{model_and_task(row)} · {row['variant']} · rank {row['rank']} · batch {row['batch_size']}"
    seed = "-" if row["seed"] < 0 else str(row["seed"])
    scores = [f"{100 * row[name]:.2f}" for name in ("a", "b")]
    return [setting, format_lr(row["lr"]), seed, *scores, f"{100 * row['difference']:+.2f}", number(row["p"]), row["how"]]
