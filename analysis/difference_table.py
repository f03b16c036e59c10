"""The table of differences to LoRA: intervals, tests of a difference and of equivalence, and what a clearer answer needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.differences import REFERENCE, differences
from analysis.equivalence import ALPHA, MARGIN, POWER
from analysis.labels import format_lr, hyperparameters, model_and_task
from analysis.options import SETTING
from analysis.rendering import Block
from analysis.stats import settings

if TYPE_CHECKING:
    import pandas as pd

HEADER = ["variant", "at lr", "difference", "95 %", "95 %, these runs", "p", "p equal", "verdict", "seeds", "needed"]
ALIGN = "<<>>>>><>>"

frame = differences
"""For CSV."""


def blocks(frame: pd.DataFrame, margin: float = MARGIN) -> tuple[list[Block], list[str]]:
    """One block a setting with the reference."""
    found, compared = [], differences(frame, margin)
    for key, rows in compared.groupby(SETTING, dropna=False):
        setting: dict[str, Any] = dict(zip(SETTING, key, strict=True))
        subtitle = f"{hyperparameters(setting)} · against {REFERENCE} at {format_lr(rows['reference_lr'].iloc[0])}"
        lines = [_row(row) for row in rows.to_dict("records")]
        counts = rows["verdict"].value_counts()
        told = [f"{counts[word]} {word}" for word in ("equivalent", "both", "different", "open") if word in counts]
        found.append(Block(model_and_task(setting), subtitle, HEADER, ALIGN, lines, [f"Verdicts: {', '.join(told)}."]))
    notes = [
        "Points; each at the learning rate of its best validation score (of its best test score where there is none).",
        "95 %: for new seeds and new problems (Student's t of paired scores; of means over seeds by Welch where there are no "
        "completions that reproduce the score). these runs: for these trained models on new problems (bootstrap).",
        f"p: of no difference, after Holm over the variants. p equal: of a difference of {100 * margin:g} points or more (two "
        f"one-sided tests). Verdict at {100 * ALPHA:g} %; both: a difference, and below {100 * margin:g} points.",
        f"needed: seeds of each to tell {100 * margin:g} points apart with power {POWER:g} on these problems; ∞: the problems "
        "are too few.",
    ]
    if left := sum(1 for _ in settings(frame)) - len(found):
        notes.append(f"Left out, settings without {REFERENCE} or with it alone: {left}.")
    return found, notes


def _row(row: dict[Any, Any]) -> list[str]:
    def points(*names: str) -> str:
        values = [row[name] for name in names]
        if any(map(math.isnan, values)):
            return "-"
        return f"{100 * values[0]:+.2f}" if len(values) == 1 else "[" + ", ".join(f"{100 * v:+.2f}" for v in values) + "]"

    needed = row["seeds_needed"]
    return [
        row["variant"],
        format_lr(row["lr"]),
        points("value"),
        points("low", "high"),
        points("runs_low", "runs_high"),
        *("-" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in ("p_different", "p_equivalent")),
        row["verdict"],
        str(int(row["seeds"])),
        "-" if math.isnan(needed) else "∞" if math.isinf(needed) else str(int(needed)),
    ]
