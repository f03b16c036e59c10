"""Gradients of the full weights, and inputs of the layers, on training samples, for variants that start from data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lorabench.errors import UserError
from lorabench.models.shapes import matrix, oriented
from lorabench.schema import TrainerConfig
from lorabench.training.data import Corpus, Encoded
from lorabench.training.fitting import fitting
from lorabench.training.loss import backward, micro_batches_of, summed_loss

Rows = Callable[[torch.Tensor], torch.Tensor]
"""From the inputs [time, n] of one example, float64, to rows [time, k] of the same dtype."""


@dataclass(frozen=True)
class Calibration:
    """The cell's training data as ``Variant.attach`` may use them. Costs nothing until asked.

    Attributes:
        corpus: the training texts.
        indices: the cell's samples, in the order in which its subset was drawn.
        settings: of the trainer; the micro-batches are those of training.
        budget: bytes of gradients, or Gram matrices, held in main memory at a time; more matrices than fit take several passes
            over the samples.
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
        for group in self._groups({name: 4 * _weight(model, name).numel() for name in names}):
            sums = self._pass(model, group, examples)
            for name in group:
                yield name, oriented(model.get_submodule(name), sums.pop(name)).contiguous()

    def input_grams(
        self, model: torch.nn.Module, names: Sequence[str], samples: int, rows: Rows
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, Σ RᵀR) with R = rows(X), X [time, n] the inputs of a named linear layer on one example; [k, k], float64.

        The sum is over the first ``samples`` samples; X has prompt and target, no padding. In float64, since squaring doubles
        the digits that lie between the largest and the smallest direction. The model is left as it was.
        """
        examples = self.corpus.encode(self.indices[:samples])
        for group in self._groups({name: 8 * matrix(model.get_submodule(name)).shape[1] ** 2 for name in names}):
            sums = self._input_pass(model, group, examples, rows)
            for name in group:
                yield name, sums.pop(name)

    def _groups(self, sizes: Mapping[str, int]) -> list[list[str]]:
        """Split the names, in order, so that each group's ``sizes`` in bytes fit in the budget (or are a single matrix's)."""
        groups: list[list[str]] = []
        held = 0
        for name, size in sizes.items():
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
            work = partial(backward, model, examples, self.settings, self.corpus.tokenizer.pad_token_id)
            fitting(work, examples, self.settings, lambda: _undo(weights, sums))
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
                weight.grad = None
            for handle in handles:
                handle.remove()
        return sums

    def _input_pass(
        self, model: torch.nn.Module, group: list[str], examples: list[Encoded], rows: Rows
    ) -> dict[str, torch.Tensor]:
        """Gram matrices of the layers of one group, summed over the micro-batches."""
        sums: dict[str, torch.Tensor] = {}
        lengths: list[int] = []

        def add(name: str) -> Any:
            def hook(_: Any, args: tuple[torch.Tensor]) -> None:
                inputs = by_example(args[0].detach(), len(lengths), max(lengths), name).double()
                r = torch.cat([rows(x[:length]) for x, length in zip(inputs, lengths, strict=True)])
                gram = (r.T @ r).cpu()
                sums[name] = sums[name] + gram if name in sums else gram

            return hook

        handles = [model.get_submodule(name).register_forward_pre_hook(add(name)) for name in group]
        try:
            fitting(partial(self._forward, model, examples, lengths), examples, self.settings, sums.clear)
        finally:
            for handle in handles:
                handle.remove()
        return sums

    def _forward(self, model: torch.nn.Module, examples: list[Encoded], lengths: list[int]) -> None:
        """A pass over the examples; ``lengths`` has those of the micro-batch that is in the model."""
        for places in micro_batches_of(examples, self.settings):
            batch = [examples[i] for i in places]
            lengths[:] = [len(example.ids) for example in batch]
            with torch.no_grad():
                summed_loss(model, batch, self.corpus.tokenizer.pad_token_id, next(model.parameters()).device)


def _undo(weights: Mapping[str, torch.nn.Parameter], sums: Mapping[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        weight.grad = None
        sums[name].zero_()


def by_example(rows: torch.Tensor, examples: int, time: int, name: str) -> torch.Tensor:
    """What a layer takes or gives, as [examples, time, width]; OPT's MLP has both dimensions as one.

    Raises:
        UserError: rows that are no tokens, as where a router sends them to experts.
    """
    if rows.shape[:-1].numel() != examples * time:
        raise UserError(f"{name} takes {list(rows.shape)}, which are not the {examples} x {time} tokens of its texts")
    return rows.view(examples, time, rows.shape[-1])


def _weight(model: torch.nn.Module, name: str) -> torch.nn.Parameter:
    return model.get_parameter(f"{name}.weight")
