"""Prompts that are too long, named by their example."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lorabench.errors import PromptTooLong, UserError
from lorabench.tasks.example import Example

Generate = Callable[[Sequence[str]], list[str]]
"""Prompts to completions, with the model under evaluation and the task's own limits."""


def completions(examples: Sequence[Example], prompts: Sequence[str], generate: Generate) -> list[str]:
    """``generate(prompts)``, where a prompt that is too long is named by its example.

    Raises:
        UserError: a prompt leaves no room for an answer.
    """
    with naming(examples):
        return generate(prompts)


@contextmanager
def naming(examples: Sequence[Example]) -> Iterator[None]:
    """Name the example of a prompt that is too long, by its place among these."""
    try:
        yield
    except PromptTooLong as error:
        example = examples[error.place]
        raise UserError(f"problem {example.id} of {example.set or 'validation'}: {error}") from error
