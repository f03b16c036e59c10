"""Work that is done in smaller parts where memory runs out."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lorabench.schema import TrainerConfig
from lorabench.terminal.bars import note
from lorabench.training.data import Encoded, micro_batches

T = TypeVar("T")

FULL = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "could not allocate memory")
"""Of what torch and its libraries raise as plain RuntimeError."""


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out, of a GPU or the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in FULL)


def attempt(work: Callable[[], T], divisible: bool) -> tuple[T] | None:
    """What the work gives, in a tuple; None where memory ran out for what can be done in smaller parts."""
    try:
        return (work(),)
    except Exception as error:
        if not divisible or not ran_out(error):
            raise
    gc.collect()  # behind the exception, which held all that the work had made
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def fitting(
    work: Callable[[], T], examples: Sequence[Encoded], settings: TrainerConfig, undo: Callable[[], object] = lambda: None
) -> T:
    """What the work on the micro-batches of these examples gives.

    Where memory runs out, ``settings.micro_batch_tokens`` is halved, for the rest of the cell too, and the whole batch is done
    again, down to micro-batches of one example. The result is that of gradient accumulation: the same but for the order in
    which numbers are added, and from the same step on the same bits as with such micro-batches from the start.

    Args:
        work: splits the examples by the settings.
        examples: of the batch.
        settings: of the trainer, which are changed.
        undo: what the work had done until then.
    """
    while True:
        lengths = [len(example.ids) for example in examples]
        groups = micro_batches(lengths, settings.micro_batch_tokens, settings.max_padding)
        largest = max((max(lengths[i] for i in group) * len(group) for group in groups if len(group) > 1), default=0)
        if (result := attempt(work, divisible=largest > 0)) is not None:
            return result[0]
        undo()
        settings.micro_batch_tokens = max(1, largest // 2)
        note(f"memory ran out: trainer.micro_batch_tokens is {settings.micro_batch_tokens} for the rest of this cell")
