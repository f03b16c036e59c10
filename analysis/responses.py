"""One problem's answers side by side over learning rates and variants, right and wrong marked (paper 1, appendix G)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.examples import completions, scores
from analysis.labels import format_lr, hyperparameters
from analysis.options import SETTING
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


def telling(frame: pd.DataFrame, set: str | None = None) -> tuple[str, str, str]:
    """Task, test set and id of the problem on which the cells disagree the most, of one test set if `set` names it.

    Raises:
        AnalysisError: if no cell has completions.
    """
    totals: dict[tuple[str, str, str], list[float]] = {}
    for task, path in zip(frame["task"], frame["path"], strict=True):
        for name, of_set in scores(str(path)).items():
            for one, score in of_set.items() if set in (None, name) else ():
                totals.setdefault((str(task), name, one), []).append(score)
    if not totals:
        raise AnalysisError(f"no cell has completions of test problems{f' of {set}' if set else ''} beside its record")
    most = max(map(len, totals.values()))
    return min((key for key in totals if len(totals[key]) == most), key=lambda key: (abs(sum(totals[key]) / most - 0.5), key))


def problem(frame: pd.DataFrame, id: str | None = None, set: str | None = None) -> Problem:
    """A test problem with the answers of all cells.

    Args:
        frame: cells.
        id: of the problem; None: the one on which the cells disagree the most.
        set: the test set, needed where several have the id.

    Raises:
        AnalysisError: if no cell has it, or different problems have this id.
    """
    if id is None:
        task, set, id = telling(frame, set)
        frame = frame[frame["task"] == task]
    varied = [name for name in SETTING if frame[name].nunique(dropna=False) > 1]
    found: dict[tuple[str, str, str, str], Problem] = {}
    for variant in in_order(frame["variant"]):
        for row in frame[frame["variant"] == variant].sort_values([*SETTING, "lr", "seed"]).to_dict("records"):
            for one in completions(row["path"]):
                if str(one["id"]) == id and set in (None, str(one["set"])):
                    key = (str(row["task"]), str(one["set"]), str(one["prompt"]), str(one["gold"]))
                    asked = found.setdefault(key, Problem(key[1], id, key[2], key[3], []))
                    score = float(one.get("score") or 0.0)
                    answer = Answer(variant, row["lr"], _setting(row, varied), row["seed"], score, str(one["completion"]))
                    asked.answers.append(answer)
    if not found:
        raise AnalysisError(f"no cell has a completion of the test problem {id}" + (f" of {set}" if set else ""))
    if len(found) > 1:
        where = ", ".join(dict.fromkeys(f"{task} (set {name})" for task, name, *_ in found))
        raise AnalysisError(
            f"{len(found)} different test problems have the id {id}, in {where}: choose one with --set, or one task"
        )
    return next(iter(found.values()))


def _setting(row: dict[Any, Any], varied: list[str]) -> str:
    """Rank and batch size, and what else is not the same for all cells."""
    parts = [str(row["model"])] if "model" in varied else []
    parts += [f"{row['weights']} weights"] if "weights" in varied else []
    told: dict[str, Any] = {name: row[name] for name in ("train_samples", "epochs") if name in varied}
    more = hyperparameters(told | {"options": row["options"], "source": row["source"]})
    return " · ".join([*parts, f"rank {row['rank']}", f"batch {row['batch_size']}", *([more] if more else [])])


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
