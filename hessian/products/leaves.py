"""Blocks (A, B) at the pretrained weights by the leaf identity: one graph of a layer serves every variant, rank and seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hessian.products.operator import Graph, Hessian
from hessian.products.passes import Batch, Budget, Passes
from lorabench.training.calibration import by_example

MOST_TOGETHER = 8
"""Vectors of one pass: with more the matrix products are no faster."""


@dataclass(frozen=True)
class Factors:
    """The block (A, B) of a matrix W whose layer computes (W + s(BA − B₀A₀))x, at A = A₀, B = B₀.

    As a vector it is A row by row, then B.

    >>> block = Factors("model.layers.0.self_attn.q_proj", lora_A=torch.ones(1, 3), lora_B=torch.zeros(2, 1), scale=2.0)
    >>> block.size
    5
    >>> block.split(torch.arange(5.0))
    (tensor([[0., 1., 2.]]), tensor([[3.],
            [4.]]))

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


class _Second(NamedTuple):
    """Of one vector: δe and h [batch, time, m], x·δAᵀ and x·Aᵀ [batch, time, r]."""

    change: torch.Tensor
    h: torch.Tensor
    moved: torch.Tensor
    inner: torch.Tensor


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
        count, time = len(batch.examples), max(len(example.ids) for example in batch.examples)

        def leaf(name: str) -> Any:
            def hook(_: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
                self._x[name] = by_example(args[0].detach(), count, time, name)
                self._e[name] = torch.zeros_like(by_example(output, count, time, name), requires_grad=True)
                return output + self._e[name].view_as(output)

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
        products = []
        for block, vector, second in zip(blocks, vectors, self._seconds(blocks, vectors), strict=True):
            x, g = (tensor[block.name].detach().flatten(0, 1) for tensor in (self._x, self._g))
            _, b = block.split(vector)
            h, moved, inner = (part.flatten(0, 1) for part in (second.h, second.moved, second.inner))
            for_a = (h @ block.lora_B + g @ b).T @ x
            for_b = h.T @ inner + g.T @ moved
            products.append(block.scale * torch.cat([for_a.flatten(), for_b.flatten()]))
        return products

    def parts(self, block: Factors, vectors: torch.Tensor) -> torch.Tensor:
        """δe_jᵀh_k + s·gᵀ(δB_j·δA_k + δB_k·δA_j)x of each sequence, for the columns j, k."""
        g, columns = self._g[block.name].detach(), list(vectors.T.contiguous())
        seconds = self._seconds([block] * len(columns), columns)
        pulled = [g @ block.split(vector)[1] for vector in columns]
        entries = []
        for second_j, pulled_j in zip(seconds, pulled, strict=True):
            for second_k, pulled_k in zip(seconds, pulled, strict=True):
                cross = pulled_j * second_k.moved + pulled_k * second_j.moved
                entries.append((second_j.change * second_k.h).sum((1, 2)) + block.scale * cross.sum((1, 2)))
        return torch.stack(entries, dim=1).view(-1, len(columns), len(columns))

    def _seconds(self, blocks: Sequence[Factors], vectors: Sequence[torch.Tensor]) -> list[_Second]:
        seconds: dict[int, _Second] = {}
        for name in dict.fromkeys(block.name for block in blocks):
            on_matrix = [index for index, block in enumerate(blocks) if block.name == name]
            for start in range(0, len(on_matrix), self.together):
                indices = on_matrix[start : start + self.together]
                passed = self._at_once([blocks[i] for i in indices], [vectors[i] for i in indices])
                seconds |= zip(indices, passed, strict=True)
        return [seconds[index] for index in range(len(blocks))]

    def _at_once(self, blocks: Sequence[Factors], vectors: Sequence[torch.Tensor]) -> Iterator[_Second]:
        """Of one matrix, by one pass through the graph."""
        name = blocks[0].name
        x, g, e = self._x[name], self._g[name], self._e[name]
        changes, moved, inner = [], [], []
        for block, vector in zip(blocks, vectors, strict=True):
            a, b = block.split(vector)
            moved.append(x @ a.T)
            inner.append(x @ block.lora_A.T)
            changes.append(block.scale * (moved[-1] @ block.lora_B.T + inner[-1] @ b.T))
        # A single one goes without the detour through torch.func that several need.
        several, given = len(changes) > 1, torch.stack(changes)
        (h,) = torch.autograd.grad(g, e, given if several else given[0], retain_graph=True, is_grads_batched=several)
        return map(_Second, changes, h if several else [h], moved, inner)


class LeafHessian(Hessian):
    """Blocks ``Factors`` on the matrices ``names`` of the layer, at the pretrained weights.

    >>> from lorabench.training.data import Encoded
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> sizes = dict(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2)
    >>> model = LlamaForCausalLM(LlamaConfig(**sizes)).eval().requires_grad_(False)
    >>> data = [Encoded((3, 7, 5, 9), prompt_length=2), Encoded((4, 8, 6), prompt_length=1)]
    >>> passes = Passes(model, data, first=1, pad=0)
    >>> block = Factors("model.layers.1.mlp.up_proj", lora_A=torch.randn(2, 8), lora_B=torch.zeros(8, 2), scale=1.0)
    >>> hessian = LeafHessian(passes, [block.name], Budget(bytes=2**30, micro_batch_tokens=64, max_padding=0.5))
    >>> matrix = torch.stack(hessian.products([block] * block.size, list(torch.eye(block.size))))
    >>> matrix.shape
    torch.Size([32, 32])
    >>> torch.allclose(matrix, matrix.T, atol=1e-7)
    True
    """

    most_together = MOST_TOGETHER

    def __init__(self, passes: Passes, names: Sequence[str], budget: Budget):
        self.names = list(names)
        super().__init__(passes, budget)

    def build(self, batch: Batch) -> LeafGraph:
        """See ``LeafGraph``."""
        return LeafGraph(self.passes, batch, self.names)
