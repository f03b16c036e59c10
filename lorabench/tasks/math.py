"""Mathematics in words: trained on MetaMathQA (or GSM8K's own solutions), tested on GSM8K and MATH.

Prompt, target and scoring follow PiSSA's evaluation, which paper 1 (arXiv 2602.04998) uses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from lorabench.errors import UserError
from lorabench.tasks.alpaca import PROMPT, InstructionTask
from lorabench.tasks.base import Example
from lorabench.tasks.latex import MARKER, boxed, equivalence, final_answer
from lorabench.tasks.second_opinion import verified

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d[\d,]*(?:\.\d+)?)?")
STEPS = " Let's think step by step."
FORMS = {"gsm8k": "question and answer (GSM8K)", "math": "problem and solution or answer (MATH)"}


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
class Math(InstructionTask):
    """Problems whose answer is a number (set ``gsm8k``) or LaTeX (set ``math``).

    Training rows in MetaMathQA's or GSM8K's columns; test rows in GSM8K's or MATH's, or in those of PiSSA's combined file
    (``instruction`` with the whole prompt, ``output`` with the gold answer, ``type`` with the set's name). The validation split
    has the kinds of problem that the test sets in use have, each scored as there.
    """

    def _train_example(self, row: dict[str, Any], name: str) -> Example:
        if {"query", "response"} <= row.keys():
            kind = "math" if str(row.get("type", "")).startswith("MATH") else "gsm8k"
            answer = final_answer(row["response"]) or ""
            if kind == "gsm8k" and not NUMBER.fullmatch(answer):
                answer = ""
            group = row.get("original_question") or row["query"]
            return Example(name, row["query"], row["response"], answer, set=kind, group=group)
        if {"question", "answer"} <= row.keys():
            target, gold = gsm8k_solution(row["answer"])
            return Example(name, row["question"], target, gold, set="gsm8k", group=row["question"])
        raise _columns(row, name, f"query and response (MetaMathQA) or {FORMS['gsm8k']}")

    def _test_examples(self, kind: str) -> list[Example]:
        rows = self.rows(kind)
        if rows and {"instruction", "output", "type"} <= rows[0].keys():
            rows = [row for row in rows if row.get("type") == kind]
        return [_test_example(row, kind, f"{kind}/{i}") for i, row in enumerate(rows)]

    @cached_property
    def _train(self) -> list[Example]:
        return [self._train_example(row, f"train/{i}") for i, row in enumerate(self.rows("train"))]

    @cached_property
    def _test(self) -> list[Example]:
        if "math" in self.used_sets:
            equivalence()  # before anything is trained, not after
        return [example for kind in self.used_sets for example in self._test_examples(kind)]

    @cached_property
    def _validated(self) -> set[str]:
        """The kinds of training row to validate on: those of the test sets in use, or all kinds if there is none of these."""
        kinds = {example.set for example in self._train if example.answer}
        kinds = kinds & set(self.used_sets) or kinds
        if "math" in kinds:
            equivalence()
        return kinds

    def validates(self, example: Example) -> bool:
        """Whether its answer follows the marker, as a number for ``gsm8k``, and its kind is one of those in use."""
        return bool(example.answer) and example.set in self._validated

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt with `` Let's think step by step.`` at its end, in evaluation only, as in paper 1's runs."""
        return self.prompt(example) + STEPS

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the final answers agree, as numbers or by ``is_equiv``; without ``The answer is: `` it is wrong."""
        if example.set == "math":
            answer = final_answer(completion)
            return float(answer is not None and equivalence()(answer, example.answer))
        gold = final_number(MARKER + example.answer)
        return float(gold is not None and final_number(completion) == gold)

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[dict[str, float]]:
        """Scores, and for MATH also ``verified``: Math-Verify's verdict on the same answers, where it is installed."""
        scores = super().score_all(examples, completions)
        places = [i for i, example in enumerate(examples) if example.set == "math"]
        opinions = verified([(examples[i].answer, final_answer(completions[i])) for i in places]) if places else None
        for i, opinion in zip(places, opinions or [], strict=opinions is not None):
            scores[i]["verified"] = opinion
        return scores


def _test_example(row: dict[str, Any], kind: str, name: str) -> Example:
    if {"instruction", "output"} <= row.keys():
        head, tail = PROMPT.split("{instruction}")
        question = row["instruction"].removeprefix(head).removesuffix(tail + STEPS)
        if question == row["instruction"]:
            raise UserError(
                f"task=math: row {name} has an instruction that is not the prompt of PiSSA's test file; mend the file"
            )
        return Example(name, question, answer=row["output"], set=kind)
    if kind == "gsm8k" and {"question", "answer"} <= row.keys():
        return Example(name, row["question"], *gsm8k_solution(row["answer"]), set=kind)
    if kind == "math" and "problem" in row and ("answer" in row or "solution" in row):
        answer = row["answer"] if "answer" in row else boxed(row["solution"])
        if not answer:
            raise UserError(f"task=math: row {name} has no \\boxed answer in its solution; mend the file")
        return Example(name, row["problem"], answer=answer, set=kind)
    raise _columns(row, name, FORMS[kind])


def _columns(row: dict[str, Any], name: str, wanted: str) -> UserError:
    return UserError(f"task=math: row {name} has the columns {', '.join(sorted(row))}; wanted {wanted}")
