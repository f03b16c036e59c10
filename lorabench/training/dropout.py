"""Dropout drawn example by example, so that what is dropped does not depend on how a batch is split into micro-batches."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from lorabench.errors import UserError


@dataclass
class Masks:
    """What is kept of each example of a step: decided by seed, step, place in the global batch, layer and length alone.

    On a CPU, whose generators keep 32 bits of a seed (``seed.stream_seed``), any two masks are alike with a chance of 2⁻³².

    Attributes:
        seed: of all masks of a run.
        step: optimizer steps taken.
        rows: of the present micro-batch, each row's place in the global batch and its length in tokens.
    """

    seed: int
    step: int = 0
    rows: Sequence[tuple[int, int]] = field(default_factory=list)

    def keep(self, layer: str, x: torch.Tensor, p: float) -> torch.Tensor:
        """Booleans of the shape of ``x``, each true with probability 1 − ``p``; padding, which no loss sees, is kept.

        Args:
            layer: name of the dropout layer.
            x: [batch, time, …], or the same with batch and time as one dimension.
            p: probability of a false.

        Raises:
            UserError: ``x`` has another form, in which the examples cannot be told apart.
        """
        count, time = len(self.rows), max((length for _, length in self.rows), default=0)
        if x.shape[:2] == (count, time):
            width = x.shape[2:]
        elif x.shape[:1] == (count * time,):
            width = x.shape[1:]
        else:
            raise UserError(
                f"{layer} drops parts of a tensor {list(x.shape)} in which the {count} examples of {time} tokens cannot be "
                "told apart; use dropout 0 there"
            )
        keep = torch.ones(count, time, *width, dtype=torch.bool, device=x.device)
        generator = torch.Generator(x.device)
        for row, (place, length) in zip(keep, self.rows, strict=True):
            key = hashlib.sha256(f"{self.seed}/{self.step}/{place}/{layer}".encode()).digest()
            generator.manual_seed(int.from_bytes(key[:8], "big") >> 1)
            row[:length].bernoulli_(1 - p, generator=generator)
        return keep.view(x.shape)


class ExampleDropout(torch.nn.Module):
    """x · keep / (1 − p) in training, x else: ``torch.nn.Dropout`` with the keeps of ``Masks``."""

    def __init__(self, p: float, name: str, masks: Masks):
        """Of the dropout layer ``name``, with probability ``p``."""
        super().__init__()
        self.p, self.name, self.masks = p, name, masks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop, and scale what is kept."""
        if not self.training:
            return x
        return torch.where(self.masks.keep(self.name, x, self.p), x, 0) * (1 / (1 - self.p))


@contextlib.contextmanager
def training_mode(model: Any, masks: Masks) -> Iterator[None]:
    """Put what PEFT added to a model into training mode, its dropout layers drawing from ``masks``; afterwards none is.

    The base stays in evaluation mode: a dropout of its own (GPT-2's ``resid_pdrop``, say), which inside fused attention could
    not be drawn by examples, is off. The models of paper 1 have none.
    """
    layers = [
        (parent, key, child, f"{name}.{key}" if name else key)
        for name, parent in model.named_modules()
        for key, child in parent.named_children()
        if type(child) is torch.nn.Dropout and child.p > 0
    ]
    model.train()
    for module in _of_base(model):
        module.training = False
    for parent, key, child, name in layers:
        parent._modules[key] = ExampleDropout(child.p, name, masks).train(child.training)
    try:
        yield
    finally:
        for parent, key, child, _ in layers:
            parent._modules[key] = child
        model.eval()


def _of_base(model: Any) -> Iterator[torch.nn.Module]:
    """The modules that the base had before the adapters came: PEFT puts a layer's own parts beside ``base_layer``."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    beside = set()
    layers: list[Any] = [module for module in base.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        beside |= {part for name, part in layer.named_modules() if name.partition(".")[0] != "base_layer"}
    return (module for module in base.modules() if module not in beside)


def random_states(device: torch.device) -> list[torch.Tensor]:
    """The states of torch's global generators that a forward pass on this device may draw from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def base_rates(config: Any) -> dict[str, float]:
    """The dropout probabilities above 0 that a base model's config states, by their names; those of other heads left out.

    >>> from transformers import GPT2Config, LlamaConfig
    >>> base_rates(GPT2Config(embd_pdrop=0.2)), base_rates(LlamaConfig())
    ({'attn_pdrop': 0.1, 'embd_pdrop': 0.2, 'resid_pdrop': 0.1}, {})
    """
    stated = config.get_text_config().to_dict()
    return {
        key: value
        for key, value in sorted(stated.items())
        if "drop" in key and not key.startswith(("classifier", "summary")) and isinstance(value, float) and value > 0
    }
