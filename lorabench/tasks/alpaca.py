"""The instruction format of the papers' runs, shared by the tasks that train on instructions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lorabench.tasks.base import Example
from lorabench.tasks.sourced import SourcedTask

PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)


def instruction_of(row: Mapping[str, str]) -> str:
    r"""A row's instruction, and after a blank line its input where it has one; paper 1's code reads the instruction alone.

    >>> instruction_of({"instruction": "Add.", "input": "1, 2"})
    'Add.\n\n1, 2'
    """
    return "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)


def instruction_prompt(instruction: str) -> str:
    """Alpaca's prompt without an input field, as in paper 1's training code (arXiv 2602.04998)."""
    return PROMPT.format(instruction=instruction)


@dataclass(kw_only=True)
class InstructionTask(SourcedTask):
    """A sourced task whose examples are an instruction and a response: Alpaca's prompt, the response and a line end."""

    version: ClassVar[int] = 2

    def prompt(self, example: Example) -> str:
        """The Alpaca instruction prompt."""
        return instruction_prompt(example.question)

    def target(self, example: Example) -> str:
        """The response and a line end, as paper 1's training code writes it."""
        return f"{example.target}\n"
