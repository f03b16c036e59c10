"""Hessian-vector products of adapter blocks: exact, never building a matrix, many blocks from one graph."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from hessian.products.memory import SavedBytes
from hessian.products.passes import Batch, Budget, Passes
from lorabench.errors import UserError

TRANSIENT = 0.5
"""What a vector's pass takes for a while beside the graph, as a share of it; measured: 0.3 to 0.4."""

FINE = 8
"""Micro-batches that the budget is cut into where it does not hold all graphs: for those kept, that built, and its passes."""


class Graph(ABC):
    """Loss and first derivative of one micro-batch, kept so that second derivatives can be taken again and again."""

    places: list[int]
    together = 1

    @abstractmethod
    def product(self, block: Any, vector: torch.Tensor) -> torch.Tensor:
        """This micro-batch's part of H·v; ``vector`` and result [size] in float32 on the model's device."""

    def products(self, blocks: Sequence[Any], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """``product`` for pairs of a block and a vector, up to ``together`` of them at once where the blocks allow it."""
        return [self.product(block, vector) for block, vector in zip(blocks, vectors, strict=True)]

    @abstractmethod
    def parts(self, block: Any, vectors: torch.Tensor) -> torch.Tensor:
        """VᵀH_i·V of every sequence i [batch, p, p] with H = Σ H_i; ``vectors`` V [size, p]."""


class Hessian(ABC):
    """H·v of blocks in one decoder layer, for the mean loss over all target tokens.

    The graphs of all micro-batches are kept where they fit in the budget; those that do not are built anew for every call
    and freed after all its vectors: ask for many at once.

    Attributes:
        kept: share of the tokens whose graphs are kept.
        bytes: what the graphs hold at most, by what autograd saves.
        together: vectors whose products are computed at once, where the blocks allow it.
    """

    most_together = 1

    def __init__(self, passes: Passes, budget: Budget):
        self.passes, self.budget = passes, budget
        per_token, per_target = self._probe()
        pairs = [(len(example.ids), example.target_tokens) for example in passes.examples]
        fitting = int(budget.bytes / max(per_token + per_target * targets / length for length, targets in pairs))
        whole = sum(per_token * length + per_target * targets for length, targets in pairs)
        if whole > (1 - budget.max_padding) * budget.bytes:
            fitting //= FINE
        self._batches = passes.batches(min(budget.micro_batch_tokens, fitting), budget.max_padding)
        sizes = [per_token * batch.area + per_target * batch.targets for batch in self._batches]
        room: float = budget.bytes
        if sum(sizes) > room:  # some graphs are built and freed, one at a time
            room -= max(sizes) * (1 + TRANSIENT * self.most_together)
        self._keep: list[bool] = []
        for size in sizes:
            self._keep.append(size <= room)
            room -= size if self._keep[-1] else 0
        areas = [batch.area for batch in self._batches]
        self.kept = sum(area for area, keep in zip(areas, self._keep, strict=True) if keep) / sum(areas)
        held = sum(size for size, keep in zip(sizes, self._keep, strict=True) if keep)
        held += 0 if all(self._keep) else max(sizes)
        self.bytes = round(held)
        self.together = max(1, min(self.most_together, int((budget.bytes - held) / (TRANSIENT * max(sizes)))))
        self._graphs: dict[int, Graph] = {}

    @abstractmethod
    def build(self, batch: Batch) -> Graph:
        """The graph of a micro-batch."""

    def products(self, blocks: Sequence[Any], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """H·v for each pair of a block and a vector [size]; the sums are float64 in main memory."""
        sums = [torch.zeros(block.size, dtype=torch.float64) for block in blocks]
        sent = [vector.to(self.passes.device, torch.float32) for vector in vectors]
        for graph in self._built_graphs():
            for total, product in zip(sums, graph.products(blocks, sent), strict=True):
                total += product.to("cpu", torch.float64)
            del graph  # before the next one is built
        return sums

    def parts(self, blocks: Sequence[Any], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """VᵀH_i·V of every sequence [sequences, p, p] in the order of the examples, for pairs of a block and V [size, p]."""
        parts = self._no_parts(vectors)
        sent = [columns.to(self.passes.device, torch.float32) for columns in vectors]
        for graph in self._built_graphs():
            for block, columns, part in zip(blocks, sent, parts, strict=True):
                part[graph.places] = graph.parts(block, columns).to("cpu", torch.float64)
            del graph
        return parts

    def _no_parts(self, vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Zeros [sequences, p, p] for V [size, p] of every block."""
        return [torch.zeros(len(self.passes.examples), *2 * columns.shape[1:], dtype=torch.float64) for columns in vectors]

    def _built_graphs(self) -> Iterator[Graph]:
        for index, batch in enumerate(self._batches):
            graph = self._graphs.get(index) or self.build(batch)
            graph.together = self.together
            if self._keep[index]:
                self._graphs[index] = graph
            yield graph
            del graph

    def _probe(self) -> tuple[float, float]:
        """Bytes that a graph takes for a token, and for a target token besides, whose logits it holds.

        Measured on the longest sequence, since longer ones take more for each token, and on the one with most target tokens.
        """
        examples = self.passes.examples
        lengths, targets = [len(example.ids) for example in examples], [example.target_tokens for example in examples]
        longest, fullest = (max(range(len(examples)), key=counts.__getitem__) for counts in (lengths, targets))
        sizes = {place: self._measure(self.passes.batch([place])) for place in {longest, fullest}}
        single_target = replace(examples[fullest], prompt_length=lengths[fullest] - 1, given=())
        least = self._measure(replace(self.passes.batch([fullest]), examples=[single_target]))
        per_target = (sizes[fullest] - least) / max(1, targets[fullest] - 1)
        per_token = max((size - per_target * targets[place]) / lengths[place] for place, size in sizes.items())
        most, length = max((per_token * n + per_target * t, n) for n, t in zip(lengths, targets, strict=True))
        if most > self.budget.bytes:
            raise UserError(
                f"{self.budget.key}.memory_gb={self.budget.bytes / 2**30:.3g} does not suffice for one sequence of {length} "
                f"tokens from layer {self.passes.first} on ({most / 2**30:.3g}); raise it or lower trainer.max_length"
            )
        return per_token, per_target

    def _measure(self, batch: Batch) -> int:
        with SavedBytes(self.passes.model) as saved:
            self.build(batch)
        return saved.bytes
