"""Multiple choice: trained on commonsense_15k, tested on its eight sets (Hu et al. 2023, LLM-Adapters).

Prompt, target and scoring as in paper 1's runs (arXiv 2602.04998).
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from lorabench.tasks.alpaca import InstructionTask
from lorabench.tasks.base import Example
from lorabench.tasks.sources.base import Row

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
    set_names: ClassVar[tuple[str, ...]] = tuple(FAMILIES)

    def _example(self, row: Row, name: str) -> Example:
        self.require(row, name, "instruction", "output", "answer")
        source, answer = name.partition("/")[0], row["answer"].strip()
        kind = family(answer)
        if kind is None or kind != FAMILIES.get(source, kind):
            words = OPTIONS[FAMILIES[source]].pattern if source in FAMILIES else "an option word such as answer1"
            raise self.mistake(row, name, f"has the answer {answer!r}; wanted {words}")
        question = row["instruction"]
        return Example(name, question, row["output"], answer, kind if source == "train" else source, group=question)

    def source_examples(self) -> list[Example]:
        """The training rows."""
        return self.examples("train", self._example)

    def all_test_examples(self) -> list[Example]:
        """The questions of the test sets in use."""
        return [example for name in self.used_sets for example in self.examples(name, self._example)]

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the first option word of the example's set that occurs in the completion is the right one."""
        word = OPTIONS[FAMILIES.get(example.set, example.set)].search(completion)
        return float(word is not None and word.group() == example.answer)
