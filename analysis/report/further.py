"""The sections that not every folder of records has: sharpness, searches, rules of practice, one problem's answers."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.heuristics import findings, gaps
from analysis.questions.responses import problem
from analysis.questions.sharpness import compare, results
from analysis.questions.suggestions import suggestions
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings
from analysis.read.journals import Search
from analysis.read.options import SETTING
from analysis.report.samples import LONGEST, cut
from analysis.stats import LEVEL
from analysis.stats.clusters import LEAST
from analysis.stats.curves import setting_of
from analysis.stats.searches import progress
from analysis.style.palette import Style, in_order, matrices_in_order, method_styles, styles
from analysis.style.settings import hyperparameters, model_and_task

ANSWERS = 400_000
"""Characters of all answers to the one problem; each has its share."""


def dashes(style: Style) -> str:
    """A line style as SVG writes it."""
    return "" if isinstance(style.linestyle, str) else " ".join(str(2 * length) for length in style.linestyle[1])


def looks(names: Sequence[str]) -> list[dict[str, Any]]:
    """Names with their colours, markers and dashes, in order."""
    return _looks(styles(names))


def _looks(style_of: dict[str, Style]) -> list[dict[str, Any]]:
    return [
        {"name": name, "color": style.color, "marker": style.marker, "dash": dashes(style)} for name, style in style_of.items()
    ]


def sharpness(frame: pd.DataFrame, blocks: pd.DataFrame | None, unread: str) -> dict[str, Any] | None:
    """Best learning rates over λmax where both are known, and the median λmax of each variant and matrix; None of no blocks."""
    if blocks is None:
        return {"reason": unread, "variants": [], "comparisons": [], "blocks": []} if unread else None
    try:
        compared = compare(frame, blocks)
        reason = ""
    except AnalysisError as error:
        compared, reason = [], str(error)
    start = blocks[blocks["checkpoint"].isna() & (blocks["layer"] != JOINT)]
    return {
        "reason": reason,
        "variants": looks(list(blocks["variant"])),
        "comparisons": [
            {
                "title": comparison.title,
                "subtitle": f"{comparison.subtitle} · {comparison.measured}",
                "points": comparison.points.to_dict("records"),
                "slope": comparison.slope.value,
                "remarks": [*results(comparison), *comparison.remarks],
            }
            for comparison in compared
        ],
        "blocks": [_matrices(setting, of_setting) for setting, of_setting in block_settings(start)],
    }


def _matrices(setting: dict[str, Any], blocks: pd.DataFrame) -> dict[str, Any]:
    table = blocks.pivot_table("lambda_max", "variant", "matrix", "median")
    matrices = matrices_in_order(table.columns)
    return {
        "title": f"{model_and_task(setting)} · rank {setting['rank']} · {setting['samples']} samples",
        "matrices": matrices,
        "rows": [[name, *(table.loc[name, matrix] for matrix in matrices)] for name in in_order(table.index)],
        "unfinished": int((~blocks["converged"]).sum()),
        "count": len(blocks),
    }


def searches(every: Sequence[Search]) -> dict[str, Any]:
    """Best score so far of each method and seed, a panel for searches of the same space and cells."""
    keys = list(dict.fromkeys(search.key for search in every))
    panels = []
    for key in keys:
        same = [search for search in every if search.key == key]
        panels.append(
            {
                "title": same[0].problem,
                "candidates": same[0].candidates,
                "progress": {
                    name: progress([search.best_so_far() for search in same if search.method == name])
                    for name in dict.fromkeys(search.method for search in same)
                },
                "searches": [
                    {
                        "method": search.method,
                        "seed": search.seed,
                        "best_so_far": search.best_so_far(),
                        "failed": sum(map(math.isnan, search.scores)),
                        "best": " ".join(search.best),
                    }
                    for search in same
                ],
            }
        )
    return {"methods": _looks(method_styles(search.method for search in every)), "panels": panels}


def rules(frame: pd.DataFrame, blocks: pd.DataFrame | None, unread: str) -> dict[str, Any]:
    """Paper 1's rules with their numbers, why others have none, and a next sweep."""
    tested = findings(frame, blocks, unread)
    return {
        "level": LEVEL,
        "least": LEAST,
        "findings": [[f.rule, f.what, *f.estimate, f.groups, f.tasks, f.expected] for f in tested if f.groups],
        "gaps": gaps(tested),
        "suggested": [[suggestion.title, suggestion.line] for suggestion in suggestions(frame)],
    }


def answers(frame: pd.DataFrame, variants: Sequence[str]) -> dict[str, Any] | None:
    """The problem on which the cells of the setting with most cells disagree the most; None without completions."""
    scored = frame[(frame["status"] == "complete") & (frame["source"] == "")]
    if scored.empty:
        return None
    _, cells = max(scored.groupby(SETTING, dropna=False), key=lambda group: len(group[1]))
    try:
        shown = problem(cells)
    except AnalysisError:
        return None
    number = {name: i for i, name in enumerate(variants)}
    scored_answers = [answer for answer in shown.answers if not math.isnan(answer.score)]
    if not scored_answers:
        return None
    longest = min(LONGEST, ANSWERS // len(scored_answers))
    setting = setting_of({str(key): value for key, value in cells.iloc[0].items()})
    return {
        "title": f"{model_and_task(setting)} · {hyperparameters(setting)}",
        "set": shown.set,
        "id": shown.id,
        "prompt": cut(shown.prompt, LONGEST),
        "gold": cut(shown.gold, LONGEST),
        "longest": longest,
        "answers": [[number[a.variant], a.lr, a.seed, a.score, cut(a.completion.strip(), longest)] for a in scored_answers],
    }
