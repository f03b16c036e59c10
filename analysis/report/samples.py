"""Completions for the page: a few of each cell, right and wrong, within a budget of bytes that all cells share."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.read.completions import Question, completions

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
        self._known: dict[tuple[str, Question], int] = {}

    def of(self, record: str) -> list[list[Any]]:
        """`[problem, score, completion]` of the first right and wrong answers to test problems, as many of each as fit."""
        kinds: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for completion in completions(record):
            if math.isnan(completion["score"]):
                continue
            of_this_kind = kinds[completion["score"] >= 1]
            if len(of_this_kind) < EACH:
                of_this_kind.append(completion)
            elif all(len(of_kind) == EACH for of_kind in kinds.values()):
                break
        if not any(kinds.values()):
            self.without += 1
        left, picked = self.share, []
        # In turn: with little room one of each is kept before a second of one.
        for completion in (of_kind[i] for i in range(EACH) for of_kind in kinds.values() if i < len(of_kind)):
            key = completion["set"], Question(completion["id"], completion["prompt"], completion["gold"])
            longest = min(LONGEST, left // 2 if key in self._known else left // 4)
            if longest < len(CUT) + 20:
                break
            text = cut(completion["completion"], longest)
            left -= _size(text)
            if key not in self._known:
                self._known[key] = len(self.problems)
                texts = {"prompt": cut(completion["prompt"], longest), "gold": cut(completion["gold"], 200)}
                problem = {"set": completion["set"], "id": completion["id"]} | texts
                self.problems.append(problem)
                left -= _size("".join(problem.values()))
            picked.append([self._known[key], completion["score"], text])
        return sorted(picked, key=lambda completion: -completion[1])


def cut(text: str, longest: int) -> str:
    """The start of a text that is too long, marked."""
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def note(cells: Sequence[Any], samples: Samples) -> str:
    """What the page says of its choice."""
    most = min(LONGEST, samples.share // 2)
    return (
        f"The first {EACH} right and {EACH} wrong answers to test problems, cut after {most:,} characters: "
        f"{len(cells):,} cells share {BUDGET / 1e6:g} MB. All of them are in completions.jsonl.gz beside the cell's record."
    )
