"""Rows whose responses are whole within the length that is trained on."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from lorabench.errors import UserError
from lorabench.models.text import example_ids
from lorabench.tasks.own.reading import Conversation
from lorabench.terminal.bars import note


def fitting(
    task: str,
    examples: list[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cut: bool,
    skip: bool,
) -> list[Conversation]:
    """Those of the rows that have at most ``max_length`` tokens.

    Args:
        task: name, for what is said.
        examples: of the training data.
        tokenizer: of the model.
        max_length: the trainer's.
        cut: whether longer ones may be cut: plain texts.
        skip: whether longer ones are left out, with a line.

    Raises:
        UserError: there are some, and neither is so.
    """
    lengths = [len(ids) for ids, _ in example_ids(tokenizer, [example.parts for example in examples])]
    long: Sequence[int] = [place for place, length in enumerate(lengths) if length > max_length]
    if not long:
        return examples
    first = examples[long[0]]
    what = (
        f"task={task}: {len(long)} of {len(examples)} training rows ({len(long) / len(examples):.1%}) have more than "
        f"trainer.max_length={max_length} tokens, such as {first.id} ({first.place}); the longest has {max(lengths)}"
    )
    if cut:
        note(f"{what}; they are cut there")
        return examples
    if not skip or len(long) == len(examples):
        raise UserError(f"{what}: their responses would be cut off; give more, or leave them out with task.skip_bad_rows=true")
    note(f"{what}; they are left out (task.skip_bad_rows=true)")
    return [example for place, example in enumerate(examples) if lengths[place] <= max_length]
