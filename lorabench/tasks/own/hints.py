"""What the user may not have meant: columns that change what is asked and are not read, and lists for one answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorabench.tasks.own.shapes import MESSAGES, Shape
from lorabench.tasks.own.templates import column_of, columns_in

MEANT = ("system", "system_prompt", "history", "context", "tools", "functions")
"""Columns of data sets of the field that stand before what is asked."""


def hints(shape: Shape, columns: Sequence[str], stated: Mapping[str, str], text: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the data, which are read all the same.

    Args:
        shape: by which they are read.
        columns: of the first row.
        stated: ``task.columns``.
        text: of the user's template with columns in braces, or empty.
        row: the first one.
    """
    texts = [text, *(column for column in stated.values() if "{" in column)]
    read = {*stated.values(), *(column_of(path) for one in texts for path in columns_in(one, "task.template"))}
    read |= set(shape.columns.replace(",", " ").split())
    if unread := [name for name in columns if name.lower() in MEANT and name not in read]:
        names = ", ".join(unread)
        yield f"not read: {names}; a task.template with {{{unread[0]}}}, or {MESSAGES[0]} in one column, would have it"
    if shape.learned and isinstance(row.get(shape.learned), list | tuple) and "answers" not in stated:
        yield (
            f"{shape.learned} holds lists, which are learned as they are written; task.columns.answers={shape.learned} takes "
            "the first for the answer and each for a right one"
        )
