"""One problem's answers side by side over learning rates and variants, right and wrong marked (paper 1, appendix G)."""

import logging
import math
import textwrap
import unicodedata
from collections import defaultdict
from typing import Any, NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.completions import Question, answers, completions
from analysis.read.options import SETTING
from analysis.style.numbers import format_lr
from analysis.style.palette import in_order
from analysis.style.settings import hyperparameters

log = logging.getLogger(__name__)

WIDTH = 100
RIGHT, WRONG, UNSCORED = "right", "WRONG", "unscored"


class Answer(NamedTuple):
    """What one cell answered; the score is NaN where it has none."""

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


def telling(frame: pd.DataFrame, id: str | None = None, set: str | None = None) -> tuple[str, str, Question]:
    """Task, test set and problem on which the cells disagree the most, of those that most cells answered.

    Args:
        frame: cells.
        id: of the problem; None: any. Where several problems have it, a warning says so.
        set: the test set; None: any.

    Raises:
        AnalysisError: if no cell has such a completion.
    """
    scores: dict[tuple[str, str, Question], list[float]] = defaultdict(list)
    for task, path in zip(frame["task"], frame["path"], strict=True):
        for name, of_set in answers(str(path)).items():
            for question, score in zip(of_set.problems, of_set.scores.tolist(), strict=True) if set in (None, name) else ():
                if id in (None, question.id):
                    scores[str(task), name, question].append(score)
    if not scores:
        which = f"the test problem {id}" if id is not None else "test problems"
        raise AnalysisError(f"no cell has completions of {which}{f' of {set}' if set else ''} beside its record")
    if id is not None and len(scores) > 1:
        where = ", ".join(sorted({f"{task} (set {name})" for task, name, _ in scores}))
        choice = "; choose with --set" if len({name for _, name, _ in scores}) > 1 else ""
        warning = "%d different test problems have the id %s, in %s: shown is the one of most answers%s"
        log.warning(warning, len(scores), visible(id), visible(where), choice)
    return min(scores, key=lambda key: (*_doubt(scores[key]), key))


def _doubt(scores: list[float]) -> tuple[int, float]:
    scored = [score for score in scores if not math.isnan(score)]
    return -len(scored), abs(sum(scored) / len(scored) - 0.5) if scored else 1.0


def problem(frame: pd.DataFrame, id: str | None = None, set: str | None = None) -> Problem:
    """A test problem with the answers of all cells, chosen by `telling`."""
    frame = frame[frame["status"] != "failed"]
    task, set, question = telling(frame, id, set)
    answered = []
    for row in frame[frame["task"] == task].sort_values([*SETTING, "lr", "seed"]).to_dict("records"):
        of_set = answers(str(row["path"])).get(set)
        if of_set and question in of_set.problems:
            same = (c for c in completions(row["path"]) if (c["set"], c["id"]) == (set, question.id))
            answered.append((row, next(same)))
    varied = {name for name in SETTING if len({str(row[name]) for row, _ in answered}) > 1}
    shown = [
        Answer(variant, row["lr"], _setting(row, varied), row["seed"], completion["score"], completion["completion"])
        for variant in in_order({row["variant"] for row, _ in answered})
        for row, completion in answered
        if row["variant"] == variant
    ]
    return Problem(set, question.id, question.prompt, question.gold, shown)


def _setting(row: dict[Any, Any], varied: set[str]) -> str:
    """Rank and batch size, and what else is not the same for all cells."""
    parts = [str(row["model"])] if "model" in varied else []
    parts += [f"{row['weights']} weights"] if "weights" in varied else []
    named = ("rank", "batch_size", *(name for name in ("train_samples", "epochs") if name in varied))
    shown = {name: row[name] for name in named}
    return " · ".join([*parts, hyperparameters(shown | {"options": row["options"], "source": row["source"]})])


def text(problem: Problem) -> str:
    """For the terminal: the problem, its answer, and what each cell said."""
    lines = [f"{problem.set} {problem.id}", "", *_wrap(problem.prompt, ""), "", f"Right: {problem.gold}", ""]
    before = None
    for answer in problem.answers:
        if (answer.variant, answer.setting) != before:
            lines += ["", f"{answer.variant} · {answer.setting}"]
            before = (answer.variant, answer.setting)
        lines += [f"  lr {format_lr(answer.lr)} seed {answer.seed}: {_mark(answer.score)}"]
        lines += _wrap(answer.completion.strip(), "      ")
    right, unscored = (sum(test(answer.score) for answer in problem.answers) for test in (lambda score: score >= 1, math.isnan))
    count = f"{right} of {len(problem.answers)} answers are right" + (f", {unscored} unscored" if unscored else "")
    return visible("\n".join([*lines, "", f"{count}."]) + "\n")


def _mark(score: float) -> str:
    if math.isnan(score):
        return UNSCORED
    return RIGHT if score >= 1 else WRONG if score == 0 else f"{100 * score:.0f} %"


def visible(text: str) -> str:
    r"""Text with control characters (but newline and tab) and lone surrogates as escapes, such as `\x1b`.

    A terminal would obey a model's `ESC[2J`.
    """
    hidden = ("Cc", "Cs")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in hidden and c not in "\n\t" else c for c in text)


def _wrap(text: str, indent: str) -> list[str]:
    lines = []
    for line in visible(text).split("\n"):
        lines += textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent) or [indent.rstrip()]
    return lines
