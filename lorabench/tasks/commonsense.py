"""Multiple choice: trained on commonsense_15k, tested on its eight sets (Hu et al. 2023, LLM-Adapters).

Prompt, target and scoring as in paper 1's runs (arXiv 2602.04998).
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.tasks.alpaca import InstructionTask
from lorabench.tasks.base import Example
from lorabench.tasks.github import GitHubSource
from lorabench.tasks.sources import HubSource, LocalSource

OPTIONS = {
    "true/false": re.compile("true|false"),
    "solution": re.compile("solution1|solution2"),
    "option": re.compile("option1|option2"),
    "ending": re.compile("ending1|ending2|ending3|ending4"),
    "answer": re.compile("answer1|answer2|answer3|answer4|answer5"),
}
"""The families of option words."""

FAMILIES = {
    "boolq": "true/false",
    "piqa": "solution",
    "social_i_qa": "answer",
    "hellaswag": "ending",
    "winogrande": "option",
    "ARC-Easy": "answer",
    "ARC-Challenge": "answer",
    "openbookqa": "answer",
}
"""The family of each test set."""


def family(answer: str) -> str | None:
    """The family whose option word ``answer`` is, None for another word."""
    return next((name for name, words in OPTIONS.items() if words.fullmatch(answer)), None)


@dataclass(kw_only=True)
class Commonsense(InstructionTask):
    """Questions with named options; rows with ``instruction``, ``output`` (``the correct answer is X``) and ``answer`` (X).

    A training row does not say which set it comes from, so in the validation split a set is a family of option words.
    """

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.test:
            if name not in FAMILIES:
                raise UserError(f"task.test.{name}: task={self.name} has no such set; available: {', '.join(FAMILIES)}")

    def _source(self, name: str) -> HubSource | LocalSource:
        node = self._node(name)
        if self.path or node.get("path") or "github" not in node:
            return super()._source(name)
        return GitHubSource(node["github"], node["revision"], split="", data_files=node["data_files"], rows=node.get("rows"))

    def _example(self, row: dict[str, Any], name: str, place: int) -> Example:
        missing = [column for column in ("instruction", "output", "answer") if column not in row]
        if missing:
            raise UserError(f"task={self.name}: row {place} of {name} has no column {', '.join(missing)}")
        answer = row["answer"].strip()
        kind = family(answer)
        if kind is None or kind != FAMILIES.get(name, kind):
            words = OPTIONS[FAMILIES[name]].pattern if name in FAMILIES else "an option word such as answer1"
            raise UserError(f"task={self.name}: row {place} of {name} has the answer {answer!r}; wanted {words}")
        question = row["instruction"]
        return Example(f"{name}/{place}", question, row["output"], answer, kind if name == "train" else name, group=question)

    def source_examples(self) -> list[Example]:
        """The training rows."""
        return [self._example(row, "train", i) for i, row in enumerate(self.rows("train"))]

    def all_test_examples(self) -> list[Example]:
        """The questions of the test sets in use."""
        return [self._example(row, name, i) for name in self.used_sets for i, row in enumerate(self.rows(name))]

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the first option word of the example's set that occurs in the completion is the right one."""
        found = OPTIONS[FAMILIES.get(example.set, example.set)].search(completion)
        return float(found is not None and found.group() == example.answer)
