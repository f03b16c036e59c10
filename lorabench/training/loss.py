"""The loss of fine-tuning: cross entropy over the target tokens of a whole batch, whatever its micro-batches."""

import contextlib
from collections.abc import Iterator, Sequence

import torch

from lorabench.schema import TrainerConfig
from lorabench.training.data import Encoded, collate, micro_batches
from lorabench.training.dropout import Masks


@contextlib.contextmanager
def head_at(model: torch.nn.Module, predict: torch.Tensor) -> Iterator[None]:
    """Let the output head see only the positions where ``predict`` [batch, time] is true: logits become [positions, vocab].

    Positions before them, of a prompt that PEFT trains, are left out, too.
    """
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[operator]
    handle = head.register_forward_pre_hook(lambda _, args: (args[0][:, -predict.shape[1] :][predict],))
    try:
        yield
    finally:
        handle.remove()


def summed_loss(model: torch.nn.Module, examples: Sequence[Encoded], pad: int, device: torch.device) -> torch.Tensor:
    """Cross entropy summed over the target tokens of one micro-batch, logits in float32."""
    ids, attention, predict = collate(examples, pad, device)
    # bfloat16 products over float32 adapters, as paper 1 writes; its code casts these, too (docs/papers.md).
    half = model.dtype == torch.bfloat16
    with head_at(model, predict), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][predict[:, :-1]], reduction="sum")


def backward(
    model: torch.nn.Module, examples: Sequence[Encoded], settings: TrainerConfig, pad: int, masks: Masks | None = None
) -> float:
    """Accumulate the gradient of one global batch and return its loss.

    The loss is the mean over the target tokens of the whole batch, so it does not depend on the micro-batches.

    Args:
        model: with what is to be trained.
        examples: of the batch.
        settings: of the trainer.
        pad: token id.
        masks: of the model's dropout layers, which get to know the examples of each micro-batch.
    """
    device = next(model.parameters()).device
    targets = max(1, sum(e.target_tokens for e in examples))
    total = 0.0
    for places in micro_batches_of(examples, settings):
        group = [examples[i] for i in places]
        if masks is not None:
            masks.rows = [(i, len(examples[i].ids)) for i in places]
        loss = summed_loss(model, group, pad, device) / targets
        loss.backward()
        total += loss.item()
    return total


def mean_loss(model: torch.nn.Module, examples: Sequence[Encoded], settings: TrainerConfig, pad: int) -> float:
    """Mean loss over all target tokens of ``examples``, without gradients."""
    device = next(model.parameters()).device
    with torch.no_grad():
        groups = [[examples[i] for i in places] for places in micro_batches_of(examples, settings)]
        total = sum(summed_loss(model, group, pad, device).item() for group in groups)
    return total / max(1, sum(e.target_tokens for e in examples))


def micro_batches_of(examples: Sequence[Encoded], settings: TrainerConfig) -> list[list[int]]:
    """The micro-batches of a batch, as places in it."""
    return micro_batches([len(e.ids) for e in examples], settings.micro_batch_tokens, settings.max_padding)


def padding(examples: Sequence[Encoded], settings: TrainerConfig) -> int:
    """Padding tokens that the micro-batches of a batch hold."""
    groups = [[len(examples[i].ids) for i in places] for places in micro_batches_of(examples, settings)]
    return sum(max(lengths) * len(lengths) - sum(lengths) for lengths in groups)
