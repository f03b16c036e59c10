"""Each variant against LoRA: intervals, tests of a difference and of equivalence, and what a clearer answer needs."""

import argparse
import math
from typing import Any

import pandas as pd

from analysis.arguments import points
from analysis.questions.differences import differences
from analysis.read import REFERENCE
from analysis.read.options import SETTING
from analysis.stats import ALPHA, MARGIN
from analysis.stats.curves import settings
from analysis.stats.power import POWER
from analysis.style.notes import OTHERWISE, Choice, choice
from analysis.style.numbers import format_lr, in_points, probability
from analysis.style.rendering import Block
from analysis.style.settings import hyperparameters, model_and_task

HEADER = ["variant", "at lr", "difference", "95 %", "95 %, these runs", "p", "p equal", "verdict", "seeds", "needed"]
ALIGN = "<<>>>>><>>"

ONE_SEED = "†"
"""Beside a verdict."""

frame = differences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The margin of the equivalence tests."""
    default = f"equal within (default: {100 * MARGIN:g})"
    parser.add_argument("--margin", metavar="POINTS", type=points, default=MARGIN, help=default)


def blocks(cells: pd.DataFrame, margin: float = MARGIN) -> tuple[list[Block], list[str]]:
    """One block a setting with the reference."""
    tables, compared, chosen = [], differences(cells, margin), choice(cells)
    for key, rows in compared.groupby(SETTING, dropna=False):
        setting: dict[str, Any] = dict(zip(SETTING, key, strict=True))
        subtitle = (
            f"{hyperparameters(setting)} · against {rows['reference'].iloc[0]} at {format_lr(rows['reference_lr'].iloc[0])}"
        )
        lines = [_row(row) for row in rows.to_dict("records")]
        counts = rows["verdict"].value_counts()
        verdicts = [f"{counts[word]} {word}" for word in ("equivalent", "both", "different", "open") if word in counts]
        remarks = [f"Verdicts: {', '.join(verdicts)}.", *_remarks(rows, chosen)]
        tables.append(Block(model_and_task(setting), subtitle, HEADER, ALIGN, lines, remarks))
    notes = [
        f"Points; each at the learning rate of its {chosen.best}{'' if chosen.by == 'test' else OTHERWISE}.",
        "95 %, not corrected for the number of variants. From paired scores for new seeds and new problems (Student's t; where "
        "few problems differ, as wide as scores of 0 and 1 must vary); from means over seeds (Welch) for new seeds alone, where"
        " no completions reproduce the score. these runs: for these trained models on new problems (bootstrap).",
        f"p: of no difference. p equal: of a difference of {in_points(margin)} or more (two one-sided tests: they are the "
        "90 % interval's, so that the 95 % one may reach a little beyond). Both after Holm over the variants. Verdict at "
        f"{100 * ALPHA:g} %; both: a difference, and below {in_points(margin)}.",
        f"needed: seeds of each to tell {in_points(margin)} apart with power {POWER:g} on these problems; ∞: the problems "
        "are too few.",
    ]
    if left := sum(1 for _ in settings(cells)) - len(tables):
        notes.append(f"Left out, settings without {REFERENCE} or with it alone: {left}.")
    return tables, notes


def _remarks(rows: pd.DataFrame, chosen: Choice) -> list[str]:
    """What the verdicts of a setting do not cover."""
    remarks = []
    if single := rows[(rows["how"] == "paired") & (rows["seeds"] == 1)]["variant"].tolist():
        remarks.append(
            f"{ONE_SEED}: one seed ({', '.join(single)}), so interval and verdict are of these trained models alone."
        )
    if left := [f"{row['variant']} {row['left_out']}" for row in rows.to_dict("records") if row["left_out"]]:
        remarks.append(f"Seeds that one of both has alone, left out: {', '.join(left)}.")
    if chosen.on_test or (rows["chosen"] != chosen.by).any():
        remarks.append("Learning rates chosen by test score: who tried more of them has an advantage that p does not know of.")
    return remarks


def _row(row: dict[Any, Any]) -> list[str]:
    def in_percent(*names: str) -> str:
        values = [row[name] for name in names]
        if any(map(math.isnan, values)):
            return "-"
        return f"{100 * values[0]:+.2f}" if len(values) == 1 else "[" + ", ".join(f"{100 * v:+.2f}" for v in values) + "]"

    needed = row["seeds_needed"]
    return [
        row["variant"],
        format_lr(row["lr"]),
        in_percent("value"),
        in_percent("low", "high"),
        in_percent("runs_low", "runs_high"),
        *(probability(row[name]) for name in ("p_different", "p_equivalent")),
        row["verdict"] + (ONE_SEED if row["how"] == "paired" and row["seeds"] == 1 else ""),
        str(int(row["seeds"])),
        "-" if math.isnan(needed) else "∞" if math.isinf(needed) else str(int(needed)),
    ]
