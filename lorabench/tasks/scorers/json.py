"""json: the completion is valid JSON, with the response's values under the response's keys."""

import json
from collections.abc import Sequence
from typing import Any

from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class JsonValues(Scorer):
    """Of the keys that completion or response have, the share whose values are equal; ``valid`` and ``equal`` beside it.

    Where the response is no object, 1 for an equal value. Numbers are equal by value (1 and 1.0), texts by character,
    objects in any order. A completion may stand in a Markdown fence. Not JSON: 0.
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
    try:
        value, gold = json.loads(text), json.loads(response)
    except (ValueError, RecursionError):
        return {"score": 0.0, "valid": 0.0, "equal": 0.0}
    equal = float(_same(gold, value))
    share = equal
    if isinstance(gold, dict) and isinstance(value, dict) and (keys := gold.keys() | value.keys()):
        share = sum(key in gold and key in value and _same(gold[key], value[key]) for key in keys) / len(keys)
    return {"score": share, "valid": 1.0, "equal": equal}


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: Python takes true for 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


SCORER = JsonValues
