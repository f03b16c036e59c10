"""A column's value as a text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from lorabench.errors import UserError

SURROGATE = re.compile("[\ud800-\udfff]")


class BadValue(UserError):
    """What is wrong with the value of a row; ``task.skip_bad_rows`` leaves such rows out."""


def text_of(row: Mapping[str, Any], column: str) -> str:
    """The value of a column as a text: numbers as they are written, lists and objects as JSON.

    >>> text_of({"n": 3, "who": "Ada"}, "n"), text_of({"n": [1, 2]}, "n")
    ('3', '[1, 2]')

    Raises:
        BadValue: it is missing, null or blank, or holds half a character.
    """
    if column not in row:
        raise BadValue(f"has no {column}; it has {', '.join(map(str, row)) or 'nothing'}")
    value = row[column]
    if value is None:
        raise BadValue(f"has {column}=null")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if not text.strip():
        raise BadValue(f"has a blank {column}")
    if half := SURROGATE.search(text):
        raise BadValue(f"has half a surrogate pair (\\u{ord(half.group()):04x}) in {column}, which is no character")
    return text
