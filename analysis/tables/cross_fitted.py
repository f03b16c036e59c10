"""What choosing the best of many learning rates by test scores is worth on other seeds and problems."""

from typing import Any

import pandas as pd

from analysis.questions.selection import honest_peaks
from analysis.stats.curves import by_setting, setting_of
from analysis.style.palette import in_order
from analysis.style.rendering import Block
from analysis.style.settings import hyperparameters, model_and_task

HEADER = ["variant", "test peak %", "cross-fitted %", "95 %", "flattered by"]
ALIGN = "<>>>>"
NOTES = [
    "test peak: best mean test score over the learning rates, chosen by that score, so optimistic. cross-fitted: the same "
    "choice made on other seeds and other problems than it is scored on, with its interval for new seeds (of several) and "
    "problems. flattered by: the difference, in points. A run that diverged solves no problem.",
    "With one seed the choice is made on other problems alone, and luck of training stays in.",
    "Variants with one learning rate, or without completions of every cell, are left out.",
]

frame = honest_peaks


def blocks(cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block a setting with completions of several learning rates."""
    tables = []
    for rows in by_setting(honest_peaks(cells)).values():
        by_variant: dict[str, Any] = {row["variant"]: row for row in rows}
        lines = [
            [
                name,
                f"{100 * by_variant[name]['peak_mean']:.2f}",
                f"{100 * by_variant[name]['honest']:.2f}",
                f"[{100 * max(by_variant[name]['low'], 0):.2f}, {100 * min(by_variant[name]['high'], 1):.2f}]",
                f"{round(100 * by_variant[name]['optimism'], 2) + 0.0:.2f}",  # adding 0 makes a rounded -0.0 a 0
            ]
            for name in in_order(by_variant)
        ]
        tables.append(Block(model_and_task(rows[0]), hyperparameters(setting_of(rows[0])), HEADER, ALIGN, lines, []))
    return tables, NOTES if tables else ["No variant has completions of several learning rates, of every cell."]
