"""Hessian-vector products of adapter blocks: exact, never building a matrix, many blocks from one graph."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from hessian.memory import SavedBytes
from hessian.passes import Batch, Budget, Passes
from lorabench.errors import UserError

MOST_TOGETHER = 8
"""Vectors of one pass: with more the matrix products are no faster."""

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
        for graph in self._each():
            for total, product in zip(sums, graph.products(blocks, sent), strict=True):
                total += product.to("cpu", torch.float64)
            del graph  # before the next one is built
        return sums

    def parts(self, blocks: Sequence[Any], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """VᵀH_i·V of every sequence [sequences, p, p] in the order of the examples, for pairs of a block and V [size, p]."""
        found = [torch.zeros(len(self.passes.examples), *2 * each.shape[1:], dtype=torch.float64) for each in vectors]
        sent = [each.to(self.passes.device, torch.float32) for each in vectors]
        for graph in self._each():
            for block, each, part in zip(blocks, sent, found, strict=True):
                part[graph.places] = graph.parts(block, each).to("cpu", torch.float64)
            del graph
        return found

    def _each(self) -> Iterator[Graph]:
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
        with_one = replace(examples[fullest], prompt_length=lengths[fullest] - 1)
        least = self._measure(replace(self.passes.batch([fullest]), examples=[with_one]))
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


@dataclass(frozen=True)
class Factors:
    """The block (A, B) of a matrix W whose layer computes (W + s(BA − B₀A₀))x, at A = A₀, B = B₀.

    Attributes:
        name: of the matrix in the model.
        lora_A: A₀ [r, n], float32.
        lora_B: B₀ [m, r], float32.
        scale: s.
    """

    name: str
    lora_A: torch.Tensor
    lora_B: torch.Tensor
    scale: float

    @property
    def size(self) -> int:
        """r(m + n)."""
        return self.lora_A.numel() + self.lora_B.numel()

    def split(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """δA [r, n] and δB [m, r] of a vector [size]."""
        count = self.lora_A.numel()
        return vector[:count].view(self.lora_A.shape), vector[count:].view(self.lora_B.shape)


class LeafGraph(Graph):
    """A micro-batch's graph over zero leaves e at the outputs of some matrices: y = Wx + e.

    With e = s(BA − B₀A₀)x, g = ∂L/∂e and h = (∂g/∂e)·δe for δe = s(B·δA + δB·A)x, all [batch, time, m] as rows,

        H[δA; δB] = s[(hB + g·δB)ᵀx ; hᵀ(xAᵀ) + gᵀ(x·δAᵀ)].

    Neither e nor the model depends on A₀ and B₀, so one graph serves every variant, rank and seed that starts at W.
    """

    def __init__(self, passes: Passes, batch: Batch, names: Sequence[str]):
        self.places = batch.places
        self._x: dict[str, torch.Tensor] = {}
        self._e: dict[str, torch.Tensor] = {}

        def leaf(name: str) -> Any:
            def hook(_: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
                self._x[name] = args[0].detach()
                self._e[name] = torch.zeros_like(output, requires_grad=True)
                return output + self._e[name]

            return hook

        handles = [passes.model.get_submodule(name).register_forward_hook(leaf(name)) for name in names]
        try:
            loss = passes.loss(batch)
        finally:
            for handle in handles:
                handle.remove()
        leaves = [self._e[name] for name in names]
        self._g = dict(zip(names, torch.autograd.grad(loss, leaves, create_graph=True), strict=True))

    def product(self, block: Factors, vector: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.products([block], [vector])[0]

    def products(self, blocks: Sequence[Factors], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """See the class; vectors for the same matrix go together."""
        found = []
        for block, vector, one in zip(blocks, vectors, self._seconds(blocks, vectors), strict=True):
            x, g = (tensor[block.name].detach().flatten(0, 1) for tensor in (self._x, self._g))
            _, b = block.split(vector)
            h, moved, inner = (part.flatten(0, 1) for part in (one.h, one.moved, one.inner))
            for_a = (h @ block.lora_B + g @ b).T @ x
            for_b = h.T @ inner + g.T @ moved
            found.append(block.scale * torch.cat([for_a.flatten(), for_b.flatten()]))
        return found

    def parts(self, block: Factors, vectors: torch.Tensor) -> torch.Tensor:
        """δe_jᵀh_k + s·gᵀ(δB_j·δA_k + δB_k·δA_j)x of each sequence, for the columns j, k."""
        g, columns = self._g[block.name].detach(), list(vectors.T.contiguous())
        found = self._seconds([block] * len(columns), columns)
        pulled = [g @ block.split(vector)[1] for vector in columns]
        rows = []
        for j, one in enumerate(found):
            for k, other in enumerate(found):
                cross = pulled[j] * other.moved + pulled[k] * one.moved
                rows.append((one.change * other.h).sum((1, 2)) + block.scale * cross.sum((1, 2)))
        return torch.stack(rows, dim=1).view(-1, len(found), len(found))

    def _seconds(self, blocks: Sequence[Factors], vectors: Sequence[torch.Tensor]) -> "list[_Second]":
        found: dict[int, _Second] = {}
        for name in dict.fromkeys(block.name for block in blocks):
            mine = [index for index, block in enumerate(blocks) if block.name == name]
            for start in range(0, len(mine), self.together):
                places = mine[start : start + self.together]
                found |= zip(places, self._at_once([blocks[i] for i in places], [vectors[i] for i in places]), strict=True)
        return [found[index] for index in range(len(blocks))]

    def _at_once(self, blocks: Sequence[Factors], vectors: Sequence[torch.Tensor]) -> "Iterator[_Second]":
        """Of one matrix, by one pass through the graph."""
        name = blocks[0].name
        x, g, e = self._x[name], self._g[name], self._e[name]
        changes, moved, inner = [], [], []
        for block, vector in zip(blocks, vectors, strict=True):
            a, b = block.split(vector)
            moved.append(x @ a.T)
            inner.append(x @ block.lora_A.T)
            changes.append(block.scale * (moved[-1] @ block.lora_B.T + inner[-1] @ b.T))
        # One goes without the detour through torch.func that several need.
        several, given = len(changes) > 1, torch.stack(changes)
        (h,) = torch.autograd.grad(g, e, given if several else given[0], retain_graph=True, is_grads_batched=several)
        return map(_Second, changes, h if several else [h], moved, inner)


class _Second(NamedTuple):
    """δe and h [batch, time, m], x·δAᵀ and x·Aᵀ [batch, time, r]."""

    change: torch.Tensor
    h: torch.Tensor
    moved: torch.Tensor
    inner: torch.Tensor


class LeafHessian(Hessian):
    """Blocks ``Factors`` on the matrices ``names`` of the layer, at the pretrained weights."""

    most_together = MOST_TOGETHER

    def __init__(self, passes: Passes, names: Sequence[str], budget: Budget):
        self.names = list(names)
        super().__init__(passes, budget)

    def build(self, batch: Batch) -> LeafGraph:
        """See ``LeafGraph``."""
        return LeafGraph(self.passes, batch, self.names)
