"""Searches by method: the best score each found and how soon, beside paper 2's (arXiv 2602.11171)."""

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from analysis.read.journals import Search
from analysis.read.papers import search_results
from analysis.style.notes import TUNED_ON_TEST
from analysis.style.palette import method_styles
from analysis.style.rendering import Best, Block, render

HEADER = ["method", "searches", "evaluations", "halfway", "best", "its configuration"]
NOTES = (
    "best: highest validation score of a search (%), mean ± standard deviation over searches, which differ in their seed; "
    "halfway: the mean of the same after half of its evaluations. Configuration: that of the best of all searches.",
)
PUBLISHED = {
    "search": "best configuration of each search method",
    "default": "variants with default hyperparameters",
    "tuned": "variants tuned by language_bo",
    "ablation": "parts of language_bo",
}
"""Tables of paper 2, as `search.csv` calls them."""


def text(searches: Sequence[Search], published: bool = False, style: str = "text") -> str:
    """A table for each space that was searched, then if wanted those of paper 2; `style` is one of `rendering.STYLES`."""
    spaces = dict.fromkeys(search.key for search in searches)
    blocks = [_block([search for search in searches if search.key == space]) for space in spaces]
    return render(blocks + (_papers() if published else []), NOTES, style)


def _block(searches: Sequence[Search]) -> Block:
    rows = []
    for method in method_styles(search.method for search in searches):
        of_method = [search for search in searches if search.method == method]
        top = max(of_method, key=lambda search: search.best_so_far()[-1])
        best = [search.best_so_far()[-1] for search in of_method]
        half = [search.best_so_far()[(len(search.scores) + 1) // 2 - 1] for search in of_method]
        lengths = sorted({len(search.scores) for search in of_method})
        evaluations = str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        rows.append([method, str(len(best)), evaluations, _percent(half), _percent(best), ", ".join(top.best)])
    first = searches[0]
    return Block(first.problem, f"{first.candidates} candidates", HEADER, "<>>>><", rows, [])


def _percent(scores: Sequence[float]) -> str:
    if any(map(math.isnan, scores)):  # nothing was scored so far
        return "-"
    spread = f" ± {100 * stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{100 * mean(scores):.2f}{spread}"


def _papers() -> list[Block]:
    blocks = []
    results = search_results()
    for table, about in PUBLISHED.items():
        rows = [row for row in results if row["table"] == table]
        tasks = [key for key in rows[0] if key not in ("table", "method") and not math.isnan(rows[0][key])]
        highest = {task: max(row[task] for row in rows) for task in tasks}
        shown = [[row["method"], *(_score(row, task, highest[task]) for task in tasks)] for row in rows]
        blocks.append(
            Block("paper 2: llama-2-7b", f"{about} ({TUNED_ON_TEST})", ["method", *tasks], "<" + ">" * len(tasks), shown, [])
        )
    return blocks


def _score(row: dict[str, Any], task: str, highest: float) -> str:
    shown = f"{row[task]:.{3 if task == 'mt_bench' else 2}f}"
    return Best(shown) if row[task] == highest else shown
