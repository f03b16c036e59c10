"""Completions for the page: a few of each cell, right and wrong, within a budget of bytes that all cells share."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.read.completions import Asked, completions

EACH = 3
"""Right and wrong completions of a cell, at most."""

LONGEST = 2000
"""Characters of a prompt or a completion; the rest is cut."""

BUDGET = 8_000_000
"""Bytes of completions and prompts in a page."""

CUT = " […]"


class Samples:
    """Picks completions of cells; a problem that many of them answer stands in the page once.

    Args:
        cells: how many will be asked for; each may use an equal share of the budget.
        budget: bytes of text.
    """

    def __init__(self, cells: int, budget: int = BUDGET):
        self.share = budget // max(cells, 1)
        self.problems: list[dict[str, str]] = []
        self.without = 0
        self._known: dict[tuple[str, Asked], int] = {}

    def of(self, record: str) -> list[list[Any]]:
        """`[problem, score, completion]` of the first right and wrong answers to test problems, as many of each as fit."""
        kinds: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for one in completions(record):
            if math.isnan(one["score"]):
                continue
            kind = kinds[one["score"] >= 1]
            if len(kind) < EACH:
                kind.append(one)
            elif all(len(each) == EACH for each in kinds.values()):
                break
        if not any(kinds.values()):
            self.without += 1
        left, found = self.share, []
        # In turn: with little room one of each is kept before a second of one.
        for one in (each[i] for i in range(EACH) for each in kinds.values() if i < len(each)):
            key = one["set"], Asked(one["id"], one["prompt"], one["gold"])
            longest = min(LONGEST, left // 2 if key in self._known else left // 4)
            if longest < len(CUT) + 20:
                break
            completion = cut(one["completion"], longest)
            left -= _size(completion)
            if key not in self._known:
                self._known[key] = len(self.problems)
                texts = {"prompt": cut(one["prompt"], longest), "gold": cut(one["gold"], 200)}
                problem = {"set": one["set"], "id": one["id"]} | texts
                self.problems.append(problem)
                left -= _size("".join(problem.values()))
            found.append([self._known[key], one["score"], completion])
        return sorted(found, key=lambda one: -one[1])


def cut(text: str, longest: int) -> str:
    """The start of a text that is too long, marked."""
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def told(cells: Sequence[Any], samples: Samples) -> str:
    """What the page says of its choice."""
    most = min(LONGEST, samples.share // 2)
    return (
        f"The first {EACH} right and {EACH} wrong answers to test problems, cut after {most:,} characters: "
        f"{len(cells):,} cells share {BUDGET / 1e6:g} MB. All of them are in completions.jsonl.gz beside the cell's record."
    )
