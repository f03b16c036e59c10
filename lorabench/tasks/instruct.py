"""Instruction following: trained on Alpaca (cleaned), tested on IFEval (Zhou et al. 2023) with lm-eval's checker.

Prompt, target and the primary score (prompt-level strict accuracy) as in paper 1's runs (arXiv 2602.04998).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lorabench.tasks.alpaca import InstructionTask, instruction_of
from lorabench.tasks.base import Example, Score
from lorabench.tasks.ifeval import Checker, checker, unknown_instruction
from lorabench.tasks.sourced import shown
from lorabench.tasks.sources.base import Row


@dataclass(kw_only=True)
class Instruct(InstructionTask):
    """Alpaca's instructions, and prompts whose verifiable instructions a program checks.

    A row's ``input``, where it is not empty, follows its instruction after a blank line. Paper 1 leaves this open: its README
    keeps the column, while its training code reads ``instruction`` and ``output`` of a folder that the README does not make.

    Alpaca's answers cannot be checked as IFEval's are, so the validation score is the likelihood of held-out answers.
    """

    version: ClassVar[int] = 1
    validation: ClassVar[str] = "likelihood"

    def source_examples(self) -> list[Example]:
        """Alpaca's rows."""
        return self.examples("train", self._train_example)

    def _train_example(self, row: Row, name: str) -> Example:
        self.require(row, name, "instruction", "output", optional=("input",))
        question = instruction_of(row)
        return Example(name, question, row["output"], group=question)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        """Test rows by the id of their example."""
        return {f"{name}/{i}": row for name in self.used_sets for i, row in enumerate(self.rows(name))}

    def all_test_examples(self) -> list[Example]:
        """IFEval's prompts."""
        self._check  # noqa: B018  before anything is trained, not after
        examples = []
        for name, row in self._rows.items():
            self._require_instructions(row, name)
            examples.append(
                Example(name, row["prompt"], answer=", ".join(row["instruction_id_list"]), set=name.partition("/")[0])
            )
        return examples

    @cached_property
    def _check(self) -> Checker:
        return checker()

    def _require_instructions(self, row: Row, name: str) -> None:
        self.require(row, name, "key", "prompt", "instruction_id_list", "kwargs", texts=["prompt"])
        ids, kwargs = row["instruction_id_list"], row["kwargs"]
        if not isinstance(ids, list) or not isinstance(kwargs, list) or not 0 < len(ids) == len(kwargs):
            raise self.mistake(row, name, "needs two lists of one length, instruction_id_list and kwargs")
        for column, values, kind, what in (("instruction_id_list", ids, str, "texts"), ("kwargs", kwargs, dict, "objects")):
            if wrong := [value for value in values if not isinstance(value, kind)]:
                raise self.mistake(row, name, f"has {shown(wrong[0])} in {column}; wanted {what}")
        if unknown := unknown_instruction(ids):
            raise self.mistake(row, name, f"has the instruction {unknown}, which lm-eval's checker does not know")
        try:
            self._check(row, "An answer.")  # now rather than after training
        except Exception as error:  # the checker's own, of arguments that it cannot use
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            raise self.mistake(row, name, f"has kwargs that lm-eval's checker cannot use ({reason}); mend them") from error

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """1.0 where a completion follows every instruction of its prompt, taken literally, and how many of them it follows.

        ``loose`` counts also allow for a first or last line too many and for Markdown's asterisks (Zhou et al. 2023, §2.2).
        """
        scores = []
        for example, completion in zip(examples, completions, strict=True):
            strict, loose = self._check(self._rows[example.id], completion)
            followed = {"instructions": len(strict), "followed_strict": sum(strict), "followed_loose": sum(loose)}
            scores.append({"score": float(all(strict)), "prompt_loose": float(all(loose)), **followed})
        return scores

    def summary(self, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
        """Prompt-level accuracies, and instruction-level ones: instructions followed over all instructions of the set."""
        counts = ("instructions", "followed_strict", "followed_loose")
        kept = [{key: value for key, value in score.items() if key not in counts} for score in scores]
        result = super().summary(examples, kept)
        instructions, strict, loose = (sum(score.get(key, 0) for score in scores) for key in counts)
        if instructions:  # a diverged run has scores alone
            result |= {"instruction_strict": strict / instructions, "instruction_loose": loose / instructions}
        return result
