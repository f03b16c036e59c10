"""Hessians through the real adapters by autograd: for layers that are no (W + s·BA)x, and for trained weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hessian.products.operator import Graph, Hessian
from hessian.products.passes import Batch, Budget, Passes


@dataclass(frozen=True)
class Parameters:
    """A block of trainable parameters where they stand in an adapted model, one after the other as a vector.

    Attributes:
        name: of the matrix that they adapt, or of what they are together.
        tensors: the parameters.
    """

    name: str
    tensors: tuple[torch.nn.Parameter, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(tensor.numel() for tensor in self.tensors)

    def split(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """The vector's [size] parts in the parameters' shapes."""
        parts = vector.split([tensor.numel() for tensor in self.tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, self.tensors, strict=True)]


class AdapterGraph(Graph):
    """A micro-batch's gradient with respect to the parameters of some blocks, with its own graph.

    What a layer takes for a constant in its gradient is constant here too: for DoRA's norm this is the Hessian of the loss with
    the norm held where it is.
    """

    def __init__(self, passes: Passes, batch: Batch, blocks: Sequence[Parameters]):
        self.places = batch.places
        tensors = [tensor for block in blocks for tensor in block.tensors]
        required = [tensor.requires_grad for tensor in passes.model.parameters()]
        passes.model.requires_grad_(False)
        for tensor in tensors:
            tensor.requires_grad_(True)
        try:
            loss = passes.loss(batch)
            gradients = iter(torch.autograd.grad(loss, tensors, create_graph=True, materialize_grads=True))
        finally:
            for tensor, before in zip(passes.model.parameters(), required, strict=True):
                tensor.requires_grad_(before)
        self._gradients = {block.name: [next(gradients) for _ in block.tensors] for block in blocks}

    def product(self, block: Parameters, vector: torch.Tensor) -> torch.Tensor:
        """∂(∇L·v)/∂θ."""
        gradients = self._gradients[block.name]
        seconds = torch.autograd.grad(
            gradients, block.tensors, block.split(vector), retain_graph=True, materialize_grads=True, allow_unused=True
        )
        return torch.cat([second.flatten() for second in seconds])

    def parts(self, block: Parameters, vectors: torch.Tensor) -> torch.Tensor:
        """Of a micro-batch of one sequence."""
        if len(self.places) != 1:
            raise ValueError("the parts of several sequences cannot be told apart here")
        products = torch.stack([self.product(block, vector) for vector in vectors.T.contiguous()], dim=1)
        return (vectors.T @ products)[None]


class AdapterHessian(Hessian):
    """Blocks of ``Parameters``, all in decoder layers from the passes' first one on.

    Any parameters will do, such as those of a norm:

    >>> from lorabench.training.data import Encoded
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> sizes = dict(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2)
    >>> model = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    >>> passes = Passes(model, [Encoded((3, 7, 5, 9), prompt_length=2)], first=1, pad=0)
    >>> block = Parameters("norm", (model.model.layers[1].input_layernorm.weight,))
    >>> hessian = AdapterHessian(passes, [block], Budget(bytes=2**30, micro_batch_tokens=64, max_padding=0.5))
    >>> matrix = torch.stack(hessian.products([block] * block.size, list(torch.eye(block.size))))
    >>> matrix.shape
    torch.Size([8, 8])
    >>> torch.allclose(matrix, matrix.T, atol=1e-7)
    True
    """

    def __init__(self, passes: Passes, blocks: Sequence[Parameters], budget: Budget):
        self.blocks = list(blocks)
        super().__init__(passes, budget)

    def build(self, batch: Batch) -> AdapterGraph:
        """See ``AdapterGraph``."""
        return AdapterGraph(self.passes, batch, self.blocks)

    def parts(self, blocks: Sequence[Parameters], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """As everywhere, one sequence at a time."""
        parts = self._no_parts(vectors)
        sent = [columns.to(self.passes.device, torch.float32) for columns in vectors]
        for place in range(len(self.passes.examples)):
            graph = self.build(self.passes.batch([place]))
            for block, columns, part in zip(blocks, sent, parts, strict=True):
                part[place] = graph.parts(block, columns)[0].to("cpu", torch.float64)
            del graph  # before the next one is built
        return parts
