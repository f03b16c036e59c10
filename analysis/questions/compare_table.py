"""The comparison of two sets of results as text: what they have in common, and the cells that differ."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.stats.equivalence import ALPHA
from analysis.style.labels import format_lr, model_and_task
from analysis.style.rendering import Block, number, render

NOISE = {
    "one seed": "One shared seed: by the noise of the test problems (McNemar; a paired t-test where sets are unequally large "
    "or scores graded; proportions without the same completions); another training is not in it.",
    "several": "Several shared seeds: by the noise of training and of the test problems.",
    "seeds": "Means over seeds: by the noise of training (Welch); that of the test problems is not in it.",
}


def text(found: pd.DataFrame, names: tuple[str, str]) -> str:
    """A count and the cells that differ, the clearest first."""
    clear = found[found["p"] < ALPHA].sort_values("p")
    header = ["cell", "lr", "seeds", f"A: {names[0]}", f"B: {names[1]}", "B - A", "p (Holm)", "by"]
    rows = [_row(row) for row in clear.to_dict("records")]
    remarks = [
        f"{len(found)} cells in both; {int(found['same'].sum())} the same on every problem; {len(rows)} differ beyond noise."
    ]
    if diverged := int((found["how"] == "diverged").sum()):
        remarks.append(f"Diverged in both: {diverged}.")
    if any(alone := found.attrs["alone"]):
        remarks.append(f"Only in A: {alone[0]}; only in B: {alone[1]} (each seed counted).")
    untested = int(found["p"].isna().sum())
    if untested:
        remarks.append(f"Not tested, for nothing tells their noise: {untested}.")
    remarks.append(f"B - A: mean {100 * found['difference'].mean():+.2f} points, largest {_largest(found['difference']):+.2f}.")
    differing = {name: sorted(set(found[name].dropna()) - {""}) for name in ("versions", "device") if name in found}
    for name, told in ({"settings": found.attrs["unlike"]} | differing).items():
        if told:
            remarks.append(f"Other {name}: {'; '.join(told[:3])}{' …' if len(told) > 3 else ''}.")
    notes = [f"p is corrected for {len(found) - untested} cells; listed below {ALPHA:g}.", *_noise(found)]
    rows = rows or [["none", "", "", "", "", "", "", ""]]
    return render([Block("Cells that differ", "test scores in percent", header, "<<>>>>><", rows, remarks)], notes, "text")


def _noise(found: pd.DataFrame) -> list[str]:
    """What noise the tests cover, of those that were made."""
    tests = found[["how", "seeds"]].drop_duplicates().itertuples(index=False)
    kinds = {"seeds" if how == "seeds" else "several" if seeds > 1 else "one seed" for how, seeds in tests if how}
    return [told for kind, told in NOISE.items() if kind in kinds]


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
