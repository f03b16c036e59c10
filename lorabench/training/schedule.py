"""The learning rate over the steps of a run: every parameter group follows its own peak."""

import math

import torch


def lr_factor(step: int, total: int, warmup_ratio: float) -> float:
    """The learning rate of step 0 … total − 1 as a share of its peak.

    Linear from 0 over the first ⌈warmup_ratio · total⌉ = w steps, then ½(1 + cos(π (step − w) / (total − w))): the
    ``cosine`` schedule of the Transformers trainer, which paper 1's runs use.

    >>> [round(lr_factor(step, 8, 0.25), 3) for step in range(8)]
    [0.0, 0.5, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067]
    """
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's ``lr`` to ``factor`` times its peak, which it keeps as ``initial_lr``, torch's own name for it.

    The peak is the ``lr`` that the group was made with; one that a method adds during the run brings its own.
    """
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each group now."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def group_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Each group's ``name``, or its number."""
    return [str(group.get("name", number)) for number, group in enumerate(optimizer.param_groups)]
