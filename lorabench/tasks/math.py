"""Grade-school math in words: trained on MetaMathQA (or GSM8K's own solutions), tested on GSM8K.

Prompt, target and scoring follow PiSSA's evaluation, which paper 1 (arXiv 2602.04998) uses.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from lorabench.errors import UserError
from lorabench.tasks.alpaca import instruction_prompt
from lorabench.tasks.base import Example
from lorabench.tasks.sources import SourcedTask

MARKER = "The answer is: "
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d[\d,]*(?:\.\d+)?)?")


def gsm8k_solution(answer: str) -> tuple[str, str]:
    """Rewrite a GSM8K answer into MetaMathQA's form.

    Returns:
        The solution without calculator marks, ending in ``The answer is: X``, and the gold ``X`` without commas.
    """
    steps, _, gold = answer.partition("\n#### ")
    gold = gold.strip().replace(",", "")
    return f"{re.sub(r'<<.*?>>', '', steps)}\n{MARKER}{gold}", gold


def final_number(text: str) -> int | None:
    """The first number after the last ``The answer is: ``, commas removed, a fraction evaluated, rounded; else None."""
    _, marker, tail = text.rpartition(MARKER)
    found = NUMBER.search(tail) if marker else None
    if not found:
        return None
    numerator, _, denominator = found.group().replace(",", "").partition("/")
    try:
        return round(Fraction(numerator) / Fraction(denominator or "1"))
    except ZeroDivisionError:
        return None


@dataclass(kw_only=True)
class Math(SourcedTask):
    """Word problems whose answer is a number; rows in GSM8K's or MetaMathQA's columns."""

    def _example(self, row: dict[str, Any], name: str) -> Example:
        if {"query", "response"} <= row.keys():
            group = row.get("original_question") or row["query"]
            # Problems of MATH have answers in LaTeX; the test problems, and so the validation problems, have numbers.
            tail = row["response"].rpartition(MARKER)[2].strip()
            number = NUMBER.fullmatch(tail) and not str(row.get("type", "")).startswith("MATH")
            return Example(name, row["query"], row["response"], tail if number else "", group=group)
        if {"question", "answer"} <= row.keys():
            target, gold = gsm8k_solution(row["answer"])
            return Example(name, row["question"], target, gold, set="gsm8k", group=row["question"])
        raise UserError(
            f"task=math: row {name} has the columns {', '.join(sorted(row))}; "
            f"wanted query and response (MetaMathQA) or question and answer (GSM8K)"
        )

    @cached_property
    def _train(self) -> list[Example]:
        return [self._example(row, f"train/{i}") for i, row in enumerate(self.rows("train"))]

    @cached_property
    def _test(self) -> list[Example]:
        return [self._example(row, f"{name}/{i}") for name in self.used_sets for i, row in enumerate(self.rows(name))]

    def source_examples(self) -> list[Example]:
        """The training source with its rephrasings of one original question in one group."""
        return self._train

    def all_test_examples(self) -> list[Example]:
        """GSM8K's test problems."""
        return self._test

    def validates(self, example: Example) -> bool:
        """Only problems whose answer is a number, as in GSM8K."""
        return bool(example.answer)

    def prompt(self, example: Example) -> str:
        """The Alpaca instruction prompt."""
        return instruction_prompt(example.question)

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt with `` Let's think step by step.`` at its end, in evaluation only, as in paper 1's runs."""
        return self.prompt(example) + " Let's think step by step."

    def target(self, example: Example) -> str:
        """The response and a line end."""
        return f"{example.target}\n"

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the final numbers agree; without ``The answer is: `` the completion is wrong."""
        gold = final_number(MARKER + example.answer)
        return float(gold is not None and final_number(completion) == gold)
