"""The training loop, one for all variants."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from lorabench.checkpoint import Checkpoint
from lorabench.data import Corpus, Encoded, collate, micro_batches
from lorabench.schema import TrainerConfig

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

    from lorabench.variants.base import Variant


@dataclass
class Training:
    """What a training run did so far.

    Attributes:
        steps: optimizer steps taken.
        tokens: tokens trained on, padding not counted.
        target_tokens: those of them that were predicted.
        padding_tokens: padding beside them.
        seconds: wall time in the loop, over all interruptions.
        loss: mean loss over the target tokens of each step's global batch.
        grad_norm: gradient norm of each step before clipping.
        diverged: the loss or the gradient was not finite, and the run stopped there.
    """

    steps: int = 0
    tokens: int = 0
    target_tokens: int = 0
    padding_tokens: int = 0
    seconds: float = 0.0
    loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    diverged: bool = False


def lr_factor(step: int, total: int, warmup_ratio: float) -> float:
    """The learning rate of step 0 … total − 1 as a share of the peak.

    Linear from 0 over the first ⌈warmup_ratio · total⌉ = w steps, then ½(1 + cos(π (step − w) / (total − w))): the
    ``cosine`` schedule of the Transformers trainer, which paper 1's runs use.
    """
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@contextlib.contextmanager
def head_at(model: "torch.nn.Module", predict: "torch.Tensor") -> Iterator[None]:
    """Let the output head see only the positions where ``predict`` [batch, time] is true: logits become [positions, vocab]."""
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[operator]
    handle = head.register_forward_pre_hook(lambda _, args: (args[0][predict],))
    try:
        yield
    finally:
        handle.remove()


def summed_loss(model: "torch.nn.Module", examples: Sequence[Encoded], pad: int, device: "torch.device") -> "torch.Tensor":
    """Cross entropy summed over the target tokens of one micro-batch, logits in float32."""
    import torch

    ids, attention, predict = collate(examples, pad, device)
    # bfloat16 products with float32 master weights, as in the papers' runs; a float32 base stays in float32.
    half = model.dtype == torch.bfloat16
    with head_at(model, predict), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][predict[:, :-1]], reduction="sum")


def backward(model: "torch.nn.Module", examples: Sequence[Encoded], settings: TrainerConfig, pad: int, done: Training) -> float:
    """Accumulate the gradient of one global batch and return its loss.

    The loss is the mean over the target tokens of the whole batch, so it does not depend on the micro-batches.
    """
    device = next(model.parameters()).device
    targets = max(1, sum(e.target_tokens for e in examples))
    total = 0.0
    lengths = [len(e.ids) for e in examples]
    for group in micro_batches(lengths, settings.micro_batch_tokens, settings.max_padding):
        loss = summed_loss(model, [examples[i] for i in group], pad, device) / targets
        loss.backward()
        total += loss.item()
        done.padding_tokens += max(lengths[i] for i in group) * len(group) - sum(lengths[i] for i in group)
    done.tokens += sum(lengths)
    done.target_tokens += sum(e.target_tokens for e in examples)
    return total


def mean_loss(model: "torch.nn.Module", examples: Sequence[Encoded], settings: TrainerConfig, pad: int) -> float:
    """Mean loss over all target tokens of ``examples``, without gradients."""
    import torch

    device = next(model.parameters()).device
    lengths = [len(e.ids) for e in examples]
    with torch.no_grad():
        total = sum(
            summed_loss(model, [examples[i] for i in group], pad, device).item()
            for group in micro_batches(lengths, settings.micro_batch_tokens, settings.max_padding)
        )
    return total / max(1, sum(e.target_tokens for e in examples))


def train(
    model: "PeftModel",
    variant: "Variant",
    corpus: Corpus,
    batches: Sequence[Sequence[int]],
    *,
    lr: float,
    settings: TrainerConfig,
    dropout_seed: int,
    checkpoint: Checkpoint | None = None,
    on_step: Callable[[Training, int], None] = lambda done, total: None,
) -> Training:
    """Train the adapter on ``batches`` (indices into ``corpus``), one optimizer step each.

    A run with a checkpoint goes on where the last one was written, to the same bits.
    """
    import torch

    optimizer = variant.optimizer(model, lr, betas=tuple(settings.betas), eps=settings.eps, weight_decay=settings.weight_decay)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    pad = corpus.tokenizer.pad_token_id
    done = Training()
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(dropout_seed)
        if checkpoint is not None:
            checkpoint.begin(trainable)
            saved = checkpoint.restore(trainable, optimizer)
            done = Training(**saved) if saved else done
        while done.steps < len(batches) and not done.diverged:
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = lr * lr_factor(done.steps, len(batches), settings.warmup_ratio)
            optimizer.zero_grad()
            loss = backward(model, corpus.encode(batches[done.steps]), settings, pad, done)
            norm = variant.clip(model, settings.max_grad_norm)
            done.diverged = not (math.isfinite(loss) and math.isfinite(norm))
            if not done.diverged:
                optimizer.step()
                done.steps += 1
                done.loss.append(loss)
                done.grad_norm.append(norm)
            done.seconds += time.perf_counter() - started
            on_step(done, len(batches))  # before the checkpoint: what it measures must not be missing from a run that goes on
            if checkpoint is not None and checkpoint.due() and done.steps < len(batches):
                checkpoint.write(trainable, optimizer, asdict(done))
        if checkpoint is not None and not done.diverged:
            checkpoint.write(trainable, optimizer, asdict(done))  # an evaluation that fails must not cost the training
    model.eval()
    return done
