"""code: the completion, a Python function, passes the tests of its row."""

import re
import textwrap
from collections.abc import Sequence
from typing import ClassVar

from lorabench.sandbox import pool
from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.own.reading import Conversation
from lorabench.tasks.scorers.base import Scorer
from lorabench.terminal.bars import note

SECONDS = 10.0
"""Of wall time, for a solution and all tests of its row."""

BLOCK = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)
PYTHON = ("python", "python3", "py")


def code_in(completion: str) -> str:
    r"""The part of a completion that is run: its first Markdown block of Python, else its first block, else all of it.

    >>> code_in("Here it is:\n```python\nf = abs\n```\nIt is short.")
    'f = abs'
    """
    blocks = BLOCK.findall(completion.replace("\r\n", "\n"))
    chosen = next((text for name, text in blocks if name.lower() in PYTHON), blocks[0][1] if blocks else completion)
    return textwrap.dedent(chosen.replace("\r\n", "\n")).strip()


class Code(Scorer):
    """1 where the code runs and then all asserts of ``task.columns.tests`` pass, within ``SECONDS`` in the sandbox."""

    version: ClassVar[int] = 2  # tests and completion in processes of their own
    together: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("tests",)

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        return float(self.score_all([example], [completion])[0]["score"])

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """1 or 0 each; what runs too long is wrong, and counted in a line."""
        return [{"score": float(passed)} for passed in self._passed(examples, list(map(code_in, completions)))]

    def proofs(self, examples: Sequence[Example], responses: Sequence[str]) -> list[bool]:
        """Whether a row's tests pass with its response, and not without any code: then they test nothing."""
        solutions = [*map(code_in, responses), *[""] * len(examples)]
        passed = self._passed([*examples, *examples], solutions)
        right, idle = passed[: len(examples)], passed[len(examples) :]
        if any(idle):
            first = examples[idle.index(True)]
            note(
                f"task.scorer=code: the tests of {sum(idle)} of {len(examples)} rows pass without any code, such as those of "
                f"{first.id}; they test nothing, and their rows count as wrong"
            )
        return [passes and not alone for passes, alone in zip(right, idle, strict=True)]

    def _passed(self, examples: Sequence[Example], solutions: Sequence[str]) -> list[bool]:
        jobs = []
        for example, solution in zip(examples, solutions, strict=True):
            assert isinstance(example, Conversation)
            tests, model = textwrap.dedent(example.tests).strip(), code_in(example.answer)
            job = {"solution": solution, "tests": tests, "model": model, "seconds": SECONDS}
            jobs.append({"kind": "asserts", "name": example.id} | job)
        answers = pool.run(jobs)
        if late := [example.id for example, answer in zip(examples, answers, strict=True) if answer and answer["late"]]:
            note(
                f"task.scorer=code: {len(late)} of {len(jobs)} solutions ran longer than {SECONDS:g} s, such as that of "
                f"{late[0]}, and count as wrong"
            )
        return [answer is not None and answer["passed"] for answer in answers]


SCORER = Code
