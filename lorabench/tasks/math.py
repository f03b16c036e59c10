"""Mathematics in words: trained on MetaMathQA (or GSM8K's own solutions), tested on GSM8K and MATH.

Prompt, target and scoring follow PiSSA's evaluation, which paper 1 (arXiv 2602.04998) uses, but that numbers are read whole
(``numbers.final_number``) and compared at the gold's decimals where it is not whole (``numbers.agrees``).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.alpaca import PROMPT, InstructionTask
from lorabench.tasks.base import Example, Score
from lorabench.tasks.scoring.latex import MARKER, boxed_answer, equivalence, final_answer
from lorabench.tasks.scoring.numbers import GOLD, agrees, final_number, gold_number
from lorabench.tasks.scoring.second_opinion import opinions_on
from lorabench.tasks.sourced import shown
from lorabench.tasks.sources.base import Row

STEPS = " Let's think step by step."
FORMS = {"gsm8k": "question and answer (GSM8K)", "math": "problem and solution or answer (MATH)"}


def gsm8k_solution(answer: str) -> tuple[str, str]:
    """Rewrite a GSM8K answer into MetaMathQA's form.

    The gold answer follows ``#### `` on the last line, or ``####`` anywhere, or is all there is, where that is one number.

    Returns:
        The solution without calculator marks, ending in ``The answer is: X``, and the gold ``X``, a number's without commas;
        empty without.
    """
    steps, mark, gold = answer.partition("\n#### ")
    if not mark:
        steps, mark, gold = answer.rpartition("####")
        steps = steps.rstrip()
    gold = gold.strip()
    if not mark and not GOLD.fullmatch(gold):
        steps, gold = answer, ""
    if GOLD.fullmatch(gold):
        gold = gold.replace(",", "")
    return re.sub(r"<<.*?>>", "", steps) + "\n" * bool(steps) + MARKER + gold, gold


def _with_text(row: Row, column: str) -> Row:
    """The row with a number of JSON in the column written as text: ``51`` says what ``"51"`` does."""
    value = row.get(column)
    finite = math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)
    if not finite:
        return row
    return row.part({**row, column: format(Decimal(str(value)), "f")})


@dataclass(kw_only=True)
class Math(InstructionTask):
    """Problems whose answer is LaTeX (set ``math``) or a number (``gsm8k``, and any other set).

    Training rows in MetaMathQA's or GSM8K's columns; test rows in GSM8K's or MATH's, or in those of PiSSA's combined file
    (``instruction`` with the whole prompt, ``output`` with the gold answer, ``type`` with the set's name). The validation split
    has the kinds of problem that the test sets in use have, each scored as there.

    A gold answer may be a number of JSON. A row without one, or with something else than one number in the place of a number,
    is an error in a test set, and in GSM8K's columns, where training would end in it. A row in MetaMathQA's whose response
    names none is trained on, as in the papers, and never scored.
    """

    version: ClassVar[int] = 6

    def _train_example(self, row: Row, name: str) -> Example:
        if {"query", "response"} <= row.keys():
            self.require(row, name, "query", "response", optional=("original_question", "type"))
            kind = "math" if (row.get("type") or "").startswith("MATH") else "gsm8k"
            answer = final_answer(row["response"]) or ""
            if kind == "gsm8k" and gold_number(answer) is None:
                answer = ""
            group = row.get("original_question") or row["query"]
            return Example(name, row["query"], row["response"], answer, set=kind, group=group)
        return self._gsm8k_example(row, name, "gsm8k", f"query and response (MetaMathQA) or {FORMS['gsm8k']}")

    def _test_example(self, row: Row, name: str) -> Example:
        kind = name.partition("/")[0]
        if {"instruction", "output"} <= row.keys():
            row = _with_text(row, "output")
            self.require(row, name, "instruction", "output")
            head, tail = PROMPT.split("{instruction}")
            question = row["instruction"].removeprefix(head).removesuffix(tail + STEPS)
            if question == row["instruction"]:
                raise self.mistake(row, name, "has an instruction that is not the prompt of PiSSA's test file; mend it")
            gold = row["output"] if kind == "math" else self._number(row, name, "output", row["output"])
            return Example(name, question, answer=gold, set=kind)
        if kind != "math":
            return self._gsm8k_example(row, name, kind, FORMS["gsm8k"])
        row = _with_text(row, "answer")
        column = "answer" if "answer" in row else "solution"
        self.require(row, name, "problem", column, forms=FORMS["math"])
        answer = row["answer"] if column == "answer" else (boxed_answer(row["solution"]) or "").strip()
        if not answer:
            raise self.mistake(row, name, "has no \\boxed answer in its solution; mend the row")
        return Example(name, row["problem"], answer=answer, set=kind)

    def _gsm8k_example(self, row: Row, name: str, kind: str, forms: str) -> Example:
        row = _with_text(row, "answer")
        self.require(row, name, "question", "answer", forms=forms)
        target, gold = gsm8k_solution(row["answer"])
        return Example(name, row["question"], target, self._number(row, name, "answer", gold), set=kind, group=row["question"])

    def _number(self, row: Row, name: str, column: str, gold: str) -> str:
        """The gold answer, which must be one number: a wrong answer could be right, or a right one wrong, else."""
        gold = gold.strip()
        if not gold:
            raise self.mistake(
                row, name, f"has no gold answer in {column}={shown(row[column])}; wanted a number, or one after ####"
            )
        if gold_number(gold) is None:
            raise self.mistake(
                row, name, f"has the gold answer {shown(gold)} in {column}; wanted one number alone, such as 5, -1,234.5 or 1/2"
            )
        return gold

    def own_rows(self, name: str, rows: list[Row]) -> list[Row]:
        """Of PiSSA's combined test file, the rows of this set."""
        if name == "train" or not {"instruction", "output", "type"} <= rows[0].keys():
            return rows
        for i, row in enumerate(rows):
            self.require(row, f"{name}/{i}", "type")
        own = [row for row in rows if row["type"] == name]
        if not own:
            types = ", ".join(sorted({row["type"] for row in rows}))
            raise UserError(f"task={self.name}: {rows[0].source} has no row of type {name}; it has {types}")
        return own

    def source_examples(self) -> list[Example]:
        """The training rows."""
        return self.examples("train", self._train_example)

    def all_test_examples(self) -> list[Example]:
        """The problems of the test sets in use."""
        if "math" in self.used_sets:
            equivalence()  # before anything is trained, not after
        return [example for name in self.used_sets for example in self.examples(name, self._test_example)]

    def validates(self, source: Sequence[Example]) -> set[int]:
        """Examples whose answer follows the marker (for ``gsm8k``, a number), of the test sets in use where there are such."""
        answered = {i for i, example in enumerate(source) if example.answer}
        places = {i for i in answered if source[i].set in self.used_sets} or answered
        if any(source[i].set == "math" for i in places):
            equivalence()
        return places

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt with `` Let's think step by step.`` at its end, in evaluation only, as in paper 1's runs."""
        return self.prompt(example) + STEPS

    def reference(self, example: Example) -> str:
        """The target, or of a test problem without a solution the gold alone behind ``The answer is: ``."""
        return super().reference(example) or MARKER + example.answer

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the final answers agree, by ``agrees`` or ``is_equiv``; without ``The answer is: `` it is wrong."""
        if example.set == "math":
            answer = final_answer(completion)
            return float(answer is not None and equivalence()(answer, example.answer))
        return float(agrees(final_number(completion), example.answer))

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """Scores, and for MATH also ``verified``: Math-Verify's verdict on the same answers, where it is installed."""
        scores = super().score_all(examples, completions)
        places = [i for i, example in enumerate(examples) if example.set == "math"]
        opinions = opinions_on([(examples[i].answer, final_answer(completions[i])) for i in places]) if places else None
        for i, opinion in zip(places, opinions or [], strict=opinions is not None):
            scores[i]["verified"] = opinion
        return scores
