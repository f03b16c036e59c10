"""Gradients of the full weights on training samples, for variants that start from data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lorabench.schema import TrainerConfig
from lorabench.training.data import Corpus, Encoded
from lorabench.training.loss import backward


@dataclass(frozen=True)
class Calibration:
    """The cell's training data as ``Variant.attach`` may use them. Costs nothing until asked.

    Attributes:
        corpus: the training texts.
        indices: the cell's samples, in the order in which its subset was drawn.
        settings: of the trainer; the micro-batches are those of training.
        budget: bytes of gradients held in main memory at a time; more matrices than fit take several passes over the samples.
    """

    corpus: Corpus
    indices: Sequence[int]
    settings: TrainerConfig
    budget: int = 2**30

    def gradients(self, model: torch.nn.Module, names: Sequence[str], samples: int) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, G) with G [m, n] = ∂loss/∂W of each named linear layer, float32 in main memory.

        The loss is the trainer's on the first ``samples`` samples taken as one batch: the mean over all their target tokens.

        On the model's device this needs what a training step needs (the micro-batch's activations) and one matrix's gradient:
        each moves to main memory and is freed as soon as the backward pass has made it. Main memory holds ``budget`` bytes.
        The model must be frozen, and is left as it was: same weights, frozen, no ``.grad``, no hooks.
        """
        examples = self.corpus.encode(self.indices[:samples])
        for group in self._groups(model, names):
            sums = self._pass(model, group, examples)
            for name in group:
                yield name, sums.pop(name)

    def _groups(self, model: torch.nn.Module, names: Sequence[str]) -> list[list[str]]:
        """Split the names, in order, so that each group's gradients fit in the budget (or are a single matrix's)."""
        groups: list[list[str]] = []
        held = 0
        for name in names:
            size = 4 * _weight(model, name).numel()
            if groups and held + size <= self.budget:
                groups[-1].append(name)
                held += size
            else:
                groups.append([name])
                held = size
        return groups

    def _pass(self, model: torch.nn.Module, group: list[str], examples: list[Encoded]) -> dict[str, torch.Tensor]:
        """Gradients of the layers of one group, summed over the micro-batches."""
        weights = {name: _weight(model, name) for name in group}
        sums = {name: torch.zeros(weight.shape) for name, weight in weights.items()}

        def move(name: str) -> Any:
            def hook(weight: torch.Tensor) -> None:
                assert weight.grad is not None
                sums[name] += weight.grad.to("cpu", torch.float32)
                weight.grad = None

            return hook

        handles = []
        try:
            for name, weight in weights.items():
                weight.requires_grad_(True)
                handles.append(weight.register_post_accumulate_grad_hook(move(name)))
            backward(model, examples, self.settings, self.corpus.tokenizer.pad_token_id)
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
                weight.grad = None
            for handle in handles:
                handle.remove()
        return sums


def _weight(model: torch.nn.Module, name: str) -> torch.nn.Parameter:
    return model.get_parameter(f"{name}.weight")
