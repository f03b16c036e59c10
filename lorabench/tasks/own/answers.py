"""Several right answers of a row, which `task.columns.answers` names: a list, or a text that is a list as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lorabench.errors import UserError
from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.own.templates import columns_in
from lorabench.tasks.own.values import BadValue, parsed, text_of
from lorabench.tasks.scorers.base import Scorer


def first_of(column: str) -> str:
    """The text that names the first of the answers in a column.

    >>> first_of("answers"), first_of("{answers[text]}")
    ('{answers[0]}', '{answers[text][0]}')

    Raises:
        UserError: it is more than one column.
    """
    name = column
    if "{" in column:
        names = columns_in(column, "task.columns.answers")
        if len(names) != 1 or column != f"{{{names[0]}}}":
            raise UserError(
                f"task.columns.answers={column} must be one column, or one item of a column in braces: {{answers[text]}}"
            )
        name = names[0]
    return f"{{{name}[0]}}"


def answers_of(row: Mapping[str, Any], column: str) -> list[str]:
    """All of the answers in a column.

    Raises:
        BadValue: it holds no list, an empty one, or something in it is no text.
    """
    value = row[column] if isinstance(row.get(column), list | tuple) else parsed(text_of(row, column))
    if not isinstance(value, list | tuple):
        raise BadValue(f"has {column}={value!r}"[:120] + ", which is no list of answers")
    if not value:
        raise BadValue(f"has no answer in {column}, whose list is empty")
    return [text_of({name: item}, name) for item, name in ((item, f"{column}[{i}]") for i, item in enumerate(value))]


def spoken(text: str) -> str:
    """An answer without what a model thinks aloud before ``</think>``."""
    return text.rpartition("</think>")[2]


def best_scores(
    scorer: Scorer, examples: Sequence[Example], right: Sequence[Sequence[str]], texts: Sequence[str]
) -> list[Score]:
    """Of each text the best of its scores against the right answers of its example; of equal ones the first.

    Args:
        scorer: of one answer.
        examples: as many as texts.
        right: the answers of each example.
        texts: completions.
    """
    owners = [place for place, answers in enumerate(right) for _ in answers]
    wanted = [replace(examples[i], answer=answer) for i, answers in enumerate(right) for answer in answers]
    best: dict[int, Score] = {}
    for owner, score in zip(owners, scorer.score_all(wanted, [texts[i] for i in owners]), strict=True):
        if owner not in best or score["score"] > best[owner]["score"]:
            best[owner] = score
    return [best[i] for i in range(len(examples))]
