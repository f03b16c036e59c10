"""The value at a dotted key of a JSON object, or the reason in one line (ValueError) why it is none."""

import json
import math
import sys
from reprlib import repr as short
from typing import Any
from unicodedata import category

INT64 = 2**63 - 1
SMALLEST = math.ulp(0.0)
LARGEST = sys.float_info.max


def get(record: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """The value at a dotted key."""
    value: Any = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"{key} is missing")
        value = value[part]
    # bool is a subclass of int: without this, `"seed": true` would pass as seed 1.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is {short(value)}")
    return value


def number(record: dict[str, Any], key: str, low: float, high: float, expected: str) -> float:
    """A number from `low` to `high`, which the error calls `expected`."""
    value = get(record, key, (int, float))
    if not low <= value <= high:  # refuses NaN, too, and what no float can hold
        raise ValueError(f"{key} is {short(value)}, not {expected}")
    return float(value)


def positive(record: dict[str, Any], key: str) -> float:
    """A finite number above 0."""
    return number(record, key, SMALLEST, LARGEST, "a positive number")


def name(record: dict[str, Any], key: str) -> str:
    """A text with something in it, and nothing that would break a line."""
    value: str = get(record, key, str)
    if not value.strip():
        raise ValueError(f"{key} is empty")
    if any(category(character) == "Cc" for character in value):
        raise ValueError(f"{key} is {short(value)}, with a control character")
    return value


def fraction(record: dict[str, Any], key: str) -> float:
    """A number from 0 to 1."""
    return number(record, key, 0, 1, "a fraction between 0 and 1")


def whole(record: dict[str, Any], key: str, low: int = 1) -> int:
    """An integer that 64 bits hold, at least `low`."""
    value: int = get(record, key, int)
    if not low <= value <= INT64:
        raise ValueError(f"{key} is {short(value)}, not a whole number from {low} to {INT64}")
    return value


def characters(tree: Any) -> None:
    """Check that all texts in a JSON value are text: an escape may stand for half a character."""
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate, which is no character, in its texts") from None


def part(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """The object at a key, empty where it is null or not there."""
    value = tree.get(key)
    if not isinstance(value, (dict, type(None))):
        raise ValueError(f"{key} is {short(value)}, not an object")
    return value or {}
