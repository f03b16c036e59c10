"""Python functions from a description: trained on CodeFeedback, tested on HumanEval and MBPP by running what is generated.

Prompts and the cutting of completions follow PiSSA's evaluation (Meng et al. 2024), which paper 1 (arXiv 2602.04998) uses;
verdicts are EvalPlus's (Liu et al. 2023), given in the sandbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.sandbox import jobs, pool
from lorabench.tasks.alpaca import InstructionTask, instruction_of
from lorabench.tasks.base import Example, Score
from lorabench.tasks.sourced import shown
from lorabench.tasks.sources.base import Row, Source
from lorabench.tasks.sources.evalplus import EvalPlusSource
from lorabench.tasks.sources.node import arguments

FENCE = "```python"
ENDS = ('if __name__ == "__main__":', "# Example usage", "assert")


def humaneval_instruction(problem: Row) -> str:
    """The instruction for a HumanEval problem: its prompt, with tabs for indents."""
    prompt = problem["prompt"]
    if problem["task_id"] == "HumanEval/115":  # EvalPlus moved its import to the top; HumanEval has it in the function
        prompt = prompt.removeprefix("import math\n").replace(":\n", ":\n    import math\n", 1)
    return "Create a Python script for this problem:\n" + prompt.replace("    ", "\t")


def mbpp_instruction(problem: Row) -> str:
    """The instruction for an MBPP problem: the description as a sentence, and the first assertion in a code block.

    The rule gives PiSSA's text but for 18 problems, from whose descriptions EvalPlus has since taken a web address.
    """
    text, _, test = problem["prompt"].strip().strip('"').strip().replace("    ", "\t").partition("\nassert")
    text = text.strip()
    stop = "" if text.endswith(".") else "."
    return f"{text}{stop} Your code should satisfy the following assertion:\n{FENCE}\nassert{test}\n```"


INSTRUCTIONS = {"humaneval": humaneval_instruction, "mbpp": mbpp_instruction}


def extract_code(completion: str) -> str:
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
    set_names: ClassVar[tuple[str, ...]] = tuple(INSTRUCTIONS)

    timeout_factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.timeout_factor < float("inf"):
            raise UserError(f"task.timeout_factor={self.timeout_factor} must be a number above 0")

    def _kind(self, name: str) -> type[Source]:
        return super()._kind(name) if name == "train" else EvalPlusSource

    def _source(self, name: str) -> Source:
        if name == "train":
            return super()._source(name)
        return EvalPlusSource(
            **arguments(self._node(name), EvalPlusSource, self._place(name)), name=name, local=self._local(name)
        )

    def _train_example(self, row: Row, name: str) -> Example | None:
        if (flag := row.get("python", True)) not in (True, False, "True", "False", "true", "false"):
            raise self.mistake(row, name, f"has python={shown(flag)}; wanted true or false")
        if flag in (False, "False", "false"):
            return None
        self.require(row, name, "instruction", "output", optional=("input",))
        return Example(name, instruction_of(row), row["output"], group=row["instruction"])

    def source_examples(self) -> list[Example]:
        """The training rows, without those that are flagged as another language than Python."""
        examples = self.examples("train", self._train_example)
        if not examples:
            raise UserError(f"{self._key('train')}: no row of the training data is flagged as Python")
        return examples

    @cached_property
    def _problems(self) -> dict[str, tuple[str, Row]]:
        """Set and row of each problem by its id."""
        jobs.require_evalplus()
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
        trials = [job for name, row in rows for job in jobs.jobs_of([row], name)]
        solutions = [row["prompt"] + extract_code(completion) for (_, row), completion in zip(rows, completions, strict=True)]
        checks = [
            job | {"kind": "check", "solution": solution, "truth": truth, "timeout_factor": self.timeout_factor}
            for job, solution, truth in zip(trials, solutions, jobs.ground_truth(trials), strict=True)
        ]
        return [
            {
                "score": float(verdict is not None and verdict["base"] == "pass"),
                "plus": float(verdict is not None and verdict["base"] == verdict["plus"] == "pass"),
            }
            for verdict in pool.run(checks)
        ]
