"""A column's value as a text."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lorabench.errors import UserError

SURROGATE = re.compile("[\ud800-\udfff]")

WRITTEN = 15
"""Digits of a decimal number that 64 bits keep (IEEE 754's DBL_DIG): one with more was computed, not written."""


class BadValue(UserError):
    """What is wrong with the value of a row; ``task.skip_bad_rows`` leaves such rows out."""


def text_of(row: Mapping[str, Any], column: str) -> str:
    """The value of a column as a text: numbers as they are written, lists and objects as JSON.

    >>> text_of({"n": 3, "who": "Ada"}, "n"), text_of({"n": [1, 2]}, "n")
    ('3', '[1, 2]')

    A number that was kept in 32 bits, as tables of labels have them, has the digits that it was written with:

    >>> text_of({"similarity": 3.799999952316284}, "similarity")
    '3.8'

    Raises:
        BadValue: it is missing, null, blank or no finite number, or holds half a character.
    """
    if column not in row:
        raise BadValue(f"has no {column}; it has {', '.join(map(str, row)) or 'nothing'}")
    value = row[column]
    if value is None:
        raise BadValue(f"has {column}=null")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadValue(f"has {column}={value}, which is no finite number")
        value = _as_written(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if not text.strip():
        raise BadValue(f"has a blank {column}")
    if half := SURROGATE.search(text):
        raise BadValue(f"has half a surrogate pair (\\u{ord(half.group()):04x}) in {column}, which is no character")
    return text


def parsed(text: str) -> Any:
    """What a text holds if it is JSON, else the text: some tables write lists and objects so."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_written(number: float) -> float | str:
    digits = repr(abs(number)).partition("e")[0].replace(".", "").lstrip("0")
    if len(digits) <= WRITTEN or abs(number) > float(np.finfo(np.float32).max):
        return number
    short = np.float32(number)
    return str(short) if float(short) == number else number
