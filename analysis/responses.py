"""One problem's answers side by side over learning rates and variants, right and wrong marked (paper 1, appendix G)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from analysis.errors import AnalysisError
from analysis.examples import completions, scores
from analysis.labels import format_lr
from analysis.palette import in_order

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 100
RIGHT, WRONG = "right", "WRONG"


class Answer(NamedTuple):
    """What one cell answered."""

    variant: str
    lr: float
    setting: str
    seed: int
    score: float
    completion: str


class Problem(NamedTuple):
    """One test problem and its answers, by variant and learning rate."""

    set: str
    id: str
    prompt: str
    gold: str
    answers: list[Answer]


def telling(frame: pd.DataFrame) -> tuple[str, str]:
    """Set and id of the problem on which the cells disagree the most.

    Raises:
        AnalysisError: if no cell has completions.
    """
    totals: dict[tuple[str, str], list[float]] = {}
    for path in frame["path"]:
        for name, of_set in scores(str(path)).items():
            for one, score in of_set.items():
                totals.setdefault((name, one), []).append(score)
    if not totals:
        raise AnalysisError("no cell has completions of test problems beside its record")
    most = max(map(len, totals.values()))
    return min((key for key in totals if len(totals[key]) == most), key=lambda key: (abs(sum(totals[key]) / most - 0.5), key))


def problem(frame: pd.DataFrame, id: str | None = None, set: str | None = None) -> Problem:
    """A test problem with the answers of all cells.

    Args:
        frame: cells.
        id: of the problem; None: the one on which the cells disagree the most.
        set: the test set, needed where several have the id.

    Raises:
        AnalysisError: if no cell has it.
    """
    if id is None:
        set, id = telling(frame)
    found: Problem | None = None
    for variant in in_order(frame["variant"]):
        for row in frame[frame["variant"] == variant].sort_values(["rank", "batch_size", "lr", "seed"]).to_dict("records"):
            for one in completions(row["path"]):
                if str(one["id"]) == id and set in (None, str(one["set"])):
                    if found is None:
                        found = Problem(str(one["set"]), id, str(one["prompt"]), str(one["gold"]), [])
                    setting = f"rank {row['rank']} · batch {row['batch_size']}"
                    score = float(one.get("score") or 0.0)
                    found.answers.append(Answer(variant, row["lr"], setting, row["seed"], score, str(one["completion"])))
                    break
    if found is None:
        raise AnalysisError(f"no cell has a completion of the test problem {id}" + (f" of {set}" if set else ""))
    return found


def text(one: Problem) -> str:
    """For the terminal: the problem, its answer, and what each cell said."""
    lines = [f"{one.set} {one.id}", "", *_wrapped(one.prompt, ""), "", f"Right: {one.gold}", ""]
    before = None
    for answer in one.answers:
        if (answer.variant, answer.setting) != before:
            lines += ["", f"{answer.variant} · {answer.setting}"]
            before = (answer.variant, answer.setting)
        mark = RIGHT if answer.score >= 1 else WRONG if answer.score == 0 else f"{100 * answer.score:.0f} %"
        lines += [f"  lr {format_lr(answer.lr)} seed {answer.seed}: {mark}", *_wrapped(answer.completion.strip(), "      ")]
    right = sum(answer.score >= 1 for answer in one.answers)
    return "\n".join([*lines, "", f"{right} of {len(one.answers)} answers are right."]) + "\n"


def _wrapped(text: str, indent: str) -> list[str]:
    lines = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent) or [indent.rstrip()]
    return lines
