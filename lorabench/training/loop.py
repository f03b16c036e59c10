"""The training loop, one for all variants: each step is the variant's own where it has one."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch

from lorabench.errors import UserError
from lorabench.schema import TrainerConfig
from lorabench.terminal import signals
from lorabench.training.checkpoint import Checkpoint
from lorabench.training.data import Corpus
from lorabench.training.dropout import Masks, random_states, training_mode
from lorabench.training.fitting import fitting
from lorabench.training.loss import backward, padding
from lorabench.training.schedule import group_names, lr_factor, rates, set_rates


class Method(Protocol):
    """What the loop asks of a variant; ``lorabench.variants.base.Variant`` says what each gets and gives."""

    name: str

    def train_only(self, model: Any) -> dict[str, torch.nn.Parameter]: ...  # noqa: D102

    def optimizer(self, model: Any, lr: float, **adamw: Any) -> torch.optim.Optimizer: ...  # noqa: D102

    def clip(self, model: Any, optimizer: torch.optim.Optimizer, max_norm: float) -> float: ...  # noqa: D102

    def before_step(self, model: Any, optimizer: torch.optim.Optimizer, step: int, total: int) -> None: ...  # noqa: D102

    def after_step(self, model: Any, optimizer: torch.optim.Optimizer, step: int, total: int) -> None: ...  # noqa: D102

    def penalty(self, model: Any) -> torch.Tensor | None: ...  # noqa: D102

    def state(self, model: Any) -> dict[str, Any]: ...  # noqa: D102

    def load_state(self, model: Any, state: dict[str, Any]) -> None: ...  # noqa: D102


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
        lr: learning rates of each step, one a parameter group, as the optimizer used them.
        optimizer: its class, with the module, as ``torch.optim.adamw.AdamW``.
        groups: ``name``, peak ``lr`` and number of ``parameters`` of each parameter group.
        micro_batch_tokens: of the last step, lower than the trainer's where memory ran out.
        diverged: the loss or the gradient was not finite, and the run stopped there.
    """

    steps: int = 0
    tokens: int = 0
    target_tokens: int = 0
    padding_tokens: int = 0
    seconds: float = 0.0
    loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    lr: list[list[float]] = field(default_factory=list)
    optimizer: str = ""
    groups: list[dict[str, Any]] = field(default_factory=list)
    micro_batch_tokens: int = 0
    diverged: bool = False


OnStep = Callable[[Training, int], None]
"""Called after each step with what was done so far and the number of steps of the whole run."""


def train(
    model: torch.nn.Module,
    variant: Method,
    corpus: Corpus,
    batches: Sequence[Sequence[int]],
    *,
    lr: float,
    settings: TrainerConfig,
    dropout_seed: int,
    base: Mapping[str, torch.Tensor] | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = lambda training, total: None,
) -> Training:
    """Train what the variant trains on ``batches`` (indices into ``corpus``), one optimizer step each.

    A run with a checkpoint goes on where the last one was written, to the same bits.

    Args:
        model: with the variant attached.
        variant: gives the parameters, the optimizer with its groups' own peaks, clipping and what happens around a step.
        corpus: the training texts.
        batches: global batches.
        lr: the cell's learning rate, from which the variant makes its groups' peaks.
        settings: of the trainer; their micro-batches become smaller where memory runs out (``fitting``).
        dropout_seed: of the masks of dropout, and of what a variant draws around a step without a generator of its own.
        base: the base's weights that the variant may change, which a checkpoint keeps where it does.
        checkpoint: where an interrupted run goes on from.
        on_step: see ``OnStep``.

    Raises:
        UserError: the optimizer moves other parameters than those that the variant says it trains; or a forward pass draws
            what depends on the micro-batches.
    """
    trained = variant.train_only(model)
    if not trained:
        raise UserError(f"variant={variant.name}: its trained() names no parameter")
    adamw = {"betas": tuple(settings.betas), "eps": settings.eps, "weight_decay": settings.weight_decay}
    pad, total, device = corpus.tokenizer.pad_token_id, len(batches), next(model.parameters()).device
    masks = Masks(dropout_seed)
    with training_mode(model, masks), torch.random.fork_rng():
        torch.manual_seed(dropout_seed)
        optimizer = variant.optimizer(model, lr, **adamw)
        _check(variant.name, trained, optimizer)
        training = Training(groups=_groups(optimizer))
        if checkpoint is not None:
            checkpoint.begin(trained, base or {})
            load = partial(variant.load_state, model)
            if saved := checkpoint.restore(trained, optimizer, load, asdict(training), total):
                training = Training(**saved)
                settings.micro_batch_tokens = min(settings.micro_batch_tokens, training.micro_batch_tokens)
        training.optimizer = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
        while training.steps < total and not training.diverged:
            with signals.held_back():  # a step is taken or not, and what it made is kept
                started = time.perf_counter()
                set_rates(optimizer, lr_factor(training.steps, total, settings.warmup_ratio))
                variant.before_step(model, optimizer, training.steps, total)
                optimizer.zero_grad()
                examples = corpus.encode(batches[training.steps])
                masks.step = training.steps
                states = random_states(device)
                loss = fitting(
                    partial(backward, model, examples, settings, pad, masks), examples, settings, optimizer.zero_grad
                )
                training.micro_batch_tokens = settings.micro_batch_tokens
                _check_draws(variant.name, states, random_states(device))
                _add(variant, model)
                norm = variant.clip(model, optimizer, settings.max_grad_norm)
                training.tokens += sum(len(example.ids) for example in examples)
                training.target_tokens += sum(example.target_tokens for example in examples)
                training.padding_tokens += padding(examples, settings)
                training.diverged = not (math.isfinite(loss) and math.isfinite(norm))
                if training.diverged and training.steps == 0:  # before any step, so that no learning rate is at fault
                    raise UserError(
                        f"variant={variant.name}: loss {loss:g} and gradient norm {norm:g} before the first step; its start or "
                        "the model's weights are at fault"
                    )
                if not training.diverged:
                    training.lr.append(rates(optimizer))
                    optimizer.step()
                    training.steps += 1
                    training.loss.append(loss)
                    training.grad_norm.append(norm)
                    variant.after_step(model, optimizer, training.steps, total)
                    if len(optimizer.param_groups) != len(training.groups):  # a method has made more, or fewer, of them
                        _check(variant.name, trained, optimizer)
                        training.groups = _groups(optimizer)
                training.seconds += time.perf_counter() - started
                on_step(training, total)  # before the checkpoint: what it measures must not be missing from a run that goes on
                # Also behind the last step: a failed evaluation must not cost it.
                if checkpoint is not None and (checkpoint.due() or signals.number() or training.steps == total):
                    checkpoint.write(trained, optimizer, asdict(training), variant.state(model))
    return training


def _add(variant: Method, model: Any) -> None:
    """The gradient of the variant's penalty, if it has one."""
    penalty = variant.penalty(model)
    if penalty is None:
        return
    if penalty.numel() != 1 or not penalty.requires_grad:
        raise UserError(f"variant={variant.name}: its penalty() must be one number that depends on what it trains, or None")
    penalty.backward()


def _check(name: str, trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """What is counted, kept in checkpoints and measured must be what moves."""
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    left_out = [key for key, p in trained.items() if id(p) not in moved]
    if left_out:
        raise UserError(f"variant={name}: no group of its optimizer has {left_out[0]}, which it says that it trains")
    if len(moved) > len({id(p) for p in trained.values()}):
        raise UserError(f"variant={name}: its optimizer moves parameters that its trained() does not name")


def _check_draws(name: str, before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    """What torch's global generators give to a forward pass depends on the micro-batches, and so would the result."""
    if not all(map(torch.equal, before, after)):
        raise UserError(
            f"variant={name} draws random numbers in its forward passes, which would depend on trainer.micro_batch_tokens; "
            "let it draw in before_step, or drop by torch.nn.Dropout layers alone"
        )


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "lr": float(group.get("initial_lr", group["lr"])),
            "parameters": sum(p.numel() for p in group["params"]),
        }
        for name, group in zip(group_names(optimizer), optimizer.param_groups, strict=True)
    ]
