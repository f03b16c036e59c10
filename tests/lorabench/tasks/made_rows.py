"""What a made-up row of a data set should become."""

from typing import Any, NamedTuple

import pyarrow as pa


class Made(NamedTuple):
    """Of one set.

    Attributes:
        rows: two of them, of two problems.
        prompt: of the first.
        target: of the first.
        right: further completions that score 1.
        wrong: completions with their scores below 1.
        types: of columns whose type in the published files is none that rows tell.
    """

    rows: list[dict[str, Any]]
    prompt: str
    target: str
    right: tuple[str, ...]
    wrong: dict[str, float]
    types: tuple[tuple[str, pa.DataType], ...] = ()


def pair(first: dict[str, Any], **second: Any) -> list[dict[str, Any]]:
    """A row, and another one that differs in these columns."""
    return [first, first | second]
