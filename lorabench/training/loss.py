"""The loss of fine-tuning: cross entropy over the target tokens of a whole batch, whatever its micro-batches."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch

from lorabench.schema import TrainerConfig
from lorabench.training.data import Encoded, collate, micro_batches
from lorabench.training.dropout import Masks
from lorabench.training.fitting import fitting
from lorabench.training.recomputing import recomputing


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
    logits, targets, _ = _predictions(model, examples, pad, device)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def _predictions(
    model: torch.nn.Module, examples: Sequence[Encoded], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Logits in float32 [targets, vocab], the target tokens [targets], example by example, and how many each example has."""
    ids, attention, predict = collate(examples, pad, device)
    # bfloat16 products over float32 adapters, as paper 1 writes; its code casts these, too (docs/papers.md).
    half = model.dtype == torch.bfloat16
    with head_at(model, predict), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
    predicted = predict[:, :-1]
    return logits.float(), ids[:, 1:][predicted], predicted.sum(1).tolist()


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
    with recomputing(model, settings.gradient_checkpointing):
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
    return losses_of(model, examples, settings, pad)[0]


def losses_of(
    model: torch.nn.Module, examples: Sequence[Encoded], settings: TrainerConfig, pad: int
) -> tuple[float, list[float]]:
    """The mean loss over all target tokens, and that of each example, summed over its tokens; one pass without gradients.

    The mean is of sums in float32 over micro-batches, each example's sum in float64.
    """
    return fitting(partial(_losses_of, model, examples, settings, pad), examples, settings)


def _losses_of(
    model: torch.nn.Module, examples: Sequence[Encoded], settings: TrainerConfig, pad: int
) -> tuple[float, list[float]]:
    device, total, losses = next(model.parameters()).device, 0.0, [0.0] * len(examples)
    for places in micro_batches_of(examples, settings):
        with torch.no_grad():
            logits, targets, counts = _predictions(model, [examples[i] for i in places], pad, device)
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double().cpu().split(counts)
        for i, of_example in zip(places, each, strict=True):
            losses[i] = float(of_example.sum())
    return total / max(1, sum(e.target_tokens for e in examples)), losses


def mean_loss_stderr(losses: Sequence[float], tokens: Sequence[int], groups: Sequence[str]) -> float | None:
    """Standard error of L = Σl / Σt, the mean loss over target tokens; None of a single group.

    The cluster-robust one of a ratio, √(G / (G − 1) · Σ_g (Σ_{i ∈ g} (l_i − L t_i))²) / Σt (Cochran 1977, chapter 6, with
    groups as in ``Task.summary``).

    Args:
        losses: l of each example, summed over its tokens.
        tokens: t, the number of them.
        groups: of each example; those of one group are not independent.
    """
    total, mean = sum(tokens), sum(losses) / max(1, sum(tokens))
    deviations: dict[str, float] = {}
    for loss, count, group in zip(losses, tokens, groups, strict=True):
        deviations[group] = deviations.get(group, 0.0) + (loss - mean * count)
    size, squares = len(deviations), sum(deviation**2 for deviation in deviations.values())
    return math.sqrt(size / (size - 1) * squares) / total if size > 1 and total else None


def micro_batches_of(examples: Sequence[Encoded], settings: TrainerConfig) -> list[list[int]]:
    """The micro-batches of a batch, as places in it."""
    return micro_batches([len(e.ids) for e in examples], settings.micro_batch_tokens, settings.max_padding)


def padding(examples: Sequence[Encoded], settings: TrainerConfig) -> int:
    """Padding tokens that the micro-batches of a batch hold."""
    groups = [[len(examples[i].ids) for i in places] for places in micro_batches_of(examples, settings)]
    return sum(max(lengths) * len(lengths) - sum(lengths) for lengths in groups)
