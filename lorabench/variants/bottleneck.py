"""Bottleneck adapters: small networks with a nonlinearity after, or beside, the sublayers instead of in the matrices."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from lorabench.errors import UserError, nearest
from lorabench.models.shapes import Shapes, linear_layers, matrix
from lorabench.terminal.bars import note
from lorabench.training.calibration import Calibration
from lorabench.variants.base import Adapted, Variant
from lorabench.variants.layers.bottleneck import ACTIVATIONS, CHILD, Bottleneck
from lorabench.variants.lora import uniform

SUBLAYERS = re.compile(
    r"(?P<block>.+\.\d+)\.(?:(?P<attention>self_attn|attn|attention|self_attention)|(?P<mlp>mlp|feed_forward))\."
)
"""A linear layer's name begins with these: its block of the decoder, and the sublayer."""

PLACEMENTS = {"houlsby": ("attention", "mlp"), "pfeiffer": ("block",), "parallel": ("mlp",)}
"""What each puts adapters beside."""

WEIGHTS, CONFIG = "bottleneck.safetensors", "bottleneck_config.json"
FIELDS = ("name", "rank", "placement", "activation", "scale")


@dataclass(kw_only=True)
class BottleneckAdapter(Variant):
    """h ← h + s·(W_up f(W_down x + b_down) + b_up), x = h or a sublayer's input (Houlsby et al. 2019, arXiv 1902.00751).

    W_down [r, d] and W_up [d, r] for the hidden size d. By ``placement``:

    * ``houlsby``: two in a block, x = h the output of attention, and that of the MLP, before the residual sum;
    * ``pfeiffer``: one, x = h the residual stream after the MLP's sum (Pfeiffer et al. 2020, arXiv 2005.00247);
    * ``parallel``: one, h the MLP's output and x its input (He et al. 2021, arXiv 2110.04366, which has s, too).

    The papers' models have their norms after the sums, these before the sublayers: x of ``parallel`` is the normed input, of
    ``pfeiffer`` has no norm. W_down ~ U(±1/√d) and the rest 0 as in He et al.'s code, so that it starts as the base.
    f stands between W_up and W_down, so no plain weights hold the update: the adapted model answers itself. Neither PEFT nor
    transformers has it; ``load`` reads what ``save`` writes.

    >>> adapter = BottleneckAdapter(name="bottleneck", rank=2, placement="houlsby", activation="gelu", scale=1.0)
    >>> shapes = Shapes({"layers.0.self_attn.q_proj": (8, 6), "layers.0.mlp.up_proj": (32, 6)})
    >>> adapter.beside(shapes), adapter.trainable_parameters(shapes)  # each 2·2·6, and biases of 2 and 6
    ({'layers.0.self_attn': 6, 'layers.0.mlp': 6}, 64)

    Attributes:
        rank: r, the bottleneck's width.
        placement: ``houlsby``, ``pfeiffer`` or ``parallel``.
        activation: f, ``relu`` or ``gelu``.
        scale: s.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    rank: int
    placement: str
    activation: str
    scale: float

    def check(self, shapes: Shapes) -> None:
        """Raise UserError unless the settings are choices and the model's blocks have such sublayers."""
        for key, choices in (("placement", PLACEMENTS), ("activation", ACTIVATIONS)):
            if (value := getattr(self, key)) not in choices:
                raise UserError(f"variant.{key}={value} is unknown; {nearest(value, choices)}")
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if not 0 < self.scale < math.inf:
            raise UserError(f"variant.scale={self.scale} must be positive")
        if len({kind for kind, _, _ in sublayers(shapes)} & {"attention", "mlp"}) < 2:
            raise UserError(
                f"variant={self.name} needs blocks with attention (self_attn, attn, attention or self_attention) and an MLP "
                "(mlp or feed_forward) of linear layers, which this model does not have; use another variant"
            )

    def beside(self, shapes: Shapes) -> dict[str, int]:
        """Names of the modules beside which it puts an adapter, with the width d of what they return."""
        return {name: width for kind, name, width in sublayers(shapes) if kind in PLACEMENTS[self.placement]}

    def targets(self, names: Iterable[str]) -> list[str]:
        """None: the linear layers stay as they are, and nothing in them is trained."""
        return []

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Σ 2rd + r + d over the adapters."""
        return sum(2 * self.rank * width + self.rank + width for width in self.beside(shapes).values())

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> Adapted:
        """Put an adapter beside each of the modules."""
        shapes = Shapes({name: (len(matrix(layer)), matrix(layer).shape[1]) for name, layer in linear_layers(model).items()})
        for name, width in self.beside(shapes).items():
            module = model.get_submodule(name)
            down = uniform(self.rank, width, width, generator).to(next(module.parameters()).device)
            Bottleneck(down, self.activation, self.scale, self.placement == "parallel").put_beside(module)
        return model

    @property
    def mergeable(self) -> bool:
        """No: a nonlinearity is no matrix."""
        return False

    def merged(self, model: Adapted) -> dict[str, torch.Tensor]:
        """Nothing: no weight of the base is adapted or trained."""
        return {}

    def save(self, model: Adapted, path: Path) -> None:
        """Write the adapters and their settings into a folder, which ``load`` reads; a line says so."""
        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: p.detach().cpu().contiguous() for name, p in self.trained(model).items()}
        save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})
        (path / CONFIG).write_text(json.dumps({key: getattr(self, key) for key in FIELDS}, indent=2) + "\n")
        note(f"PEFT has no bottleneck adapters: lorabench.variants.bottleneck.load(model, '{path}') puts these into the base")

    def detach(self, model: Adapted) -> None:
        """Take the adapters out of the base, which was never changed."""
        for module in list(model.modules()):
            if isinstance(adapter := getattr(module, CHILD, None), Bottleneck):
                adapter.take_out(module)


def sublayers(shapes: Shapes) -> list[tuple[str, str, int]]:
    """Kind (``attention``, ``mlp`` or ``block``), name, and width of what it reads, of each part of the decoder's blocks."""
    parts: dict[str, tuple[str, str, int]] = {}
    for name, (_, width) in shapes.items():  # the first linear layer of a sublayer reads the hidden state
        if match := SUBLAYERS.match(name):
            kind, block = str(match.lastgroup), match["block"]
            place = f"{block}.{match[kind]}"
            parts.setdefault(place, (kind, place, width))
            parts.setdefault(block, ("block", block, width))
    return list(parts.values())


def load(model: PreTrainedModel, path: Path) -> BottleneckAdapter:
    """Put saved adapters into their base; ``detach`` of what is returned takes them out.

    Raises:
        UserError: the folder holds none, or those of another model.
    """
    if not (path / CONFIG).exists():
        raise UserError(f"{path} has no {CONFIG}; give a folder that variant=bottleneck saved")
    variant = BottleneckAdapter(**json.loads((path / CONFIG).read_text()))
    own = {id(p) for p in model.parameters()}
    variant.attach(model, torch.Generator())
    adapters = {name: p for name, p in model.named_parameters() if id(p) not in own}
    saved = load_file(path / WEIGHTS)
    if {name: p.shape for name, p in adapters.items()} != {name: p.shape for name, p in saved.items()}:
        variant.detach(model)
        raise UserError(f"{path / WEIGHTS} holds the adapters of another model")
    with torch.no_grad():
        for name, p in adapters.items():
            p.copy_(saved[name])
    return variant
