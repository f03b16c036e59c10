"""The rules of practice as text, with the commands of a next sweep."""

import math
from collections.abc import Sequence

from analysis.questions.heuristics import Finding, gaps
from analysis.questions.suggestions import Suggestion
from analysis.stats.clusters import LEAST
from analysis.stats.correlation import LEVEL
from analysis.style.rendering import Block, render


def text(found: Sequence[Finding], next_sweep: Sequence[Suggestion]) -> str:
    """A table of the findings, and below it the next sweep's commands."""
    rows = []
    for one in found:
        value, low, high = one.estimate
        told = "-" if math.isnan(value) else f"{value:.2f} " + ("[-]" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]")
        rows.append([one.rule, one.what, told, str(one.groups), str(one.tasks), one.expected])
    header = ["rule", "number", f"mean [{LEVEL:.0%}]", "groups", "tasks", "the rule says"]
    copied = []
    for title in dict.fromkeys(one.title for one in next_sweep):
        copied += [f"# {title}", *(f"python -m lorabench -m {one.line}" for one in next_sweep if one.title == title)]
    notes = [
        "groups: for points lost, grids of one variant and setting over learning rates and batch sizes; for λmax, comparisons "
        "of variants; else sets of curves of one variant and setting that differ in that axis alone. tasks: the models and "
        "tasks that they are of. The mean is that of the tasks' means, its interval Student's t for other models and tasks; of "
        "fewer than "
        f"{LEAST} tasks there is none: [-]. λmax of one comparison: over its variants. Curves whose best learning rate "
        "is at the edge of those tried have no exponent.",
        "The commands are a next sweep, by factors of 10^(1/4) around the best learning rate of each variant: on validation, "
        "where there is one.",
    ]
    return render([Block("Rules of practice", "arXiv 2602.04998", header, "<<>>><", rows, gaps(found), copied)], notes, "text")
