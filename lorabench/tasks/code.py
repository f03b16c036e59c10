"""Python functions from a description: trained on CodeFeedback, tested on HumanEval and MBPP by running what is generated.

Prompts and the cutting of completions follow PiSSA's evaluation (Meng et al. 2024), which paper 1 (arXiv 2602.04998) uses;
verdicts are EvalPlus's (Liu et al. 2023), given in the sandbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.sandbox import pool, problems
from lorabench.tasks.alpaca import InstructionTask, with_input
from lorabench.tasks.base import Example, Score
from lorabench.tasks.sources import HubSource, LocalSource

FENCE = "```python"
ENDS = ('if __name__ == "__main__":', "# Example usage", "assert")


def humaneval_instruction(problem: dict[str, Any]) -> str:
    """The instruction for a HumanEval problem: its prompt, with tabs for indents."""
    prompt = problem["prompt"]
    if problem["task_id"] == "HumanEval/115":  # EvalPlus moved its import to the top; HumanEval has it in the function
        prompt = prompt.removeprefix("import math\n").replace(":\n", ":\n    import math\n", 1)
    return "Create a Python script for this problem:\n" + prompt.replace("    ", "\t")


def mbpp_instruction(problem: dict[str, Any]) -> str:
    """The instruction for an MBPP problem: the description as a sentence, and the first assertion in a code block.

    The rule gives PiSSA's text but for 18 problems, from whose descriptions EvalPlus has since taken a web address.
    """
    text, _, test = problem["prompt"].strip().strip('"').strip().replace("    ", "\t").partition("\nassert")
    text = text.strip()
    stop = "" if text.endswith(".") else "."
    return f"{text}{stop} Your code should satisfy the following assertion:\n{FENCE}\nassert{test}\n```"


INSTRUCTIONS = {"humaneval": humaneval_instruction, "mbpp": mbpp_instruction}


def code_of(completion: str) -> str:
    """The part of a completion that is run: the first Python block if there is one, up to example calls and tests."""
    text = completion.replace("\r", "")
    if FENCE in text:
        text = text[text.index(FENCE) :].strip().replace(FENCE, "")
        if "\n```" in text:
            text = text[: text.index("\n```")].strip()
    for end in ENDS:
        if end in text:
            text = text[: text.index(end)].strip()
    return text


@dataclass(kw_only=True)
class Code(InstructionTask):
    """Functions to write; training rows in PiSSA's columns ``instruction`` and ``output``.

    Attributes:
        timeout_factor: multiplies EvalPlus's time limits (a test: 1 s, or 4 times the canonical solution's time; all tests of
            a solution: 60 s), for slow machines. Slow solutions pass with a larger one, so scores of different factors do not
            compare.
    """

    version: ClassVar[int] = 2
    validation: ClassVar[str] = "likelihood"

    timeout_factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.timeout_factor < float("inf"):
            raise UserError(f"task.timeout_factor={self.timeout_factor} must be a number above 0")
        unknown = [name for name in self.test if name not in INSTRUCTIONS]
        if unknown:
            raise UserError(f"task.test.{unknown[0]}: task=code has only {' and '.join(INSTRUCTIONS)}")

    def _source(self, name: str) -> HubSource | LocalSource | problems.Problems:  # type: ignore[override]
        if name == "train":
            return super()._source(name)
        node = dict(self._node(name))
        files, path = node.pop("files", [name]), node.pop("path", None) or self.path
        return problems.Problems(name, **node, local=LocalSource(path, files) if path else None)

    def _train_example(self, i: int, row: dict[str, Any]) -> Example:
        if not {"instruction", "output"} <= row.keys():
            raise UserError(f"task=code: row train/{i} has the columns {', '.join(sorted(row))}; wanted instruction and output")
        return Example(f"train/{i}", with_input(row), row["output"], group=row["instruction"])

    def source_examples(self) -> list[Example]:
        """The training rows, without those that are flagged as another language than Python."""
        rows = enumerate(self.rows("train"))
        found = [self._train_example(i, row) for i, row in rows if str(row.get("python", True)) == "True"]
        if not found:
            raise UserError(f"{self._key('train')}: no row of the training data is flagged as Python")
        return found

    @cached_property
    def _problems(self) -> dict[str, tuple[str, dict[str, Any]]]:
        problems.need_evalplus()
        return {row["task_id"]: (name, row) for name in self.used_sets for row in self.rows(name)}

    def all_test_examples(self) -> list[Example]:
        """EvalPlus's problems of the test sets in use."""
        return [Example(key, INSTRUCTIONS[name](row), answer=key, set=name) for key, (name, row) in self._problems.items()]

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt with one more line end before the instruction, in evaluation only, as in PiSSA's test file."""
        return self.prompt(example).replace("\n\n### Instruction:", "\n\n\n### Instruction:", 1)

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """Run all completions: ``score`` is pass@1 on the base tests, ``plus`` on base and plus tests together."""
        rows = [self._problems[example.id] for example in examples]
        jobs = [job for name, row in rows for job in problems.jobs_of([row], name)]
        solutions = [row["prompt"] + code_of(completion) for (_, row), completion in zip(rows, completions, strict=True)]
        checks = [
            job | {"kind": "check", "solution": solution, "truth": truth, "timeout_factor": self.timeout_factor}
            for job, solution, truth in zip(jobs, solutions, problems.ground_truth(jobs), strict=True)
        ]
        return [
            {
                "score": float(verdict is not None and verdict["base"] == "pass"),
                "plus": float(verdict is not None and verdict["base"] == verdict["plus"] == "pass"),
            }
            for verdict in pool.run(checks)
        ]
