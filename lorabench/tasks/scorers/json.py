"""json: the completion is valid JSON, with the response's values under the response's keys."""

import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class JsonValues(Scorer):
    """Of the keys that completion or response have, the share whose values are equal; ``valid`` and ``equal`` beside it.

    Where the response is no object, 1 for an equal value. Numbers are equal by value (1 and 1.0), texts by character,
    objects in any order. A completion may stand in a Markdown fence. Not JSON (NaN is none, nor a key twice): 0.
    """

    def score(self, example: Example, completion: str) -> float:
        """The share of keys."""
        return float(self.score_all([example], [completion])[0]["score"])

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """With ``valid`` and ``equal``, 1 or 0 each."""
        return [_compared(e.answer, c) for e, c in zip(examples, completions, strict=True)]


def _compared(response: str, completion: str) -> Score:
    text = completion.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.partition("\n")[2].removesuffix("```")
    valid = 0.0
    try:
        value = _parsed(text)
        valid = 1.0
        share, equal = _agreement(_parsed(response), value)
    except (ValueError, RecursionError):
        share = equal = 0.0
    return {"score": share, "valid": valid, "equal": equal}


def _agreement(gold: Any, value: Any) -> tuple[float, float]:
    """The share of keys with equal values, and whether all is equal."""
    equal = float(_same(gold, value))
    if not isinstance(gold, dict) or not isinstance(value, dict) or not (keys := gold.keys() | value.keys()):
        return equal, equal
    return sum(key in gold and key in value and _same(gold[key], value[key]) for key in keys) / len(keys), equal


def _parsed(text: str) -> Any:
    """JSON's value; numbers as decimals, which take any number of digits and round none.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_no_constant, object_pairs_hook=_object)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:20]} is beyond all numbers") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: Python takes true for 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


SCORER = JsonValues
