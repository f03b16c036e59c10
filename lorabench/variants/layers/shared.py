"""Which matrices share factors: those of one name and shape in all blocks of a model."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peft import PeftModel

from lorabench.variants.base import adapter_layers


def groups(names: Sequence[str], shapes: Mapping[str, tuple[int, int]]) -> list[list[str]]:
    """The names in groups of the same last part and shape (m, n), in the order of their first members.

    >>> groups(["0.q_proj", "0.v_proj", "1.q_proj"], {"0.q_proj": (8, 8), "0.v_proj": (4, 8), "1.q_proj": (8, 8)})
    [['0.q_proj', '1.q_proj'], ['0.v_proj']]
    """
    members = defaultdict(list)
    for name in names:
        members[name.rsplit(".", 1)[-1], *shapes[name]].append(name)
    return list(members.values())


def layer_groups(model: PeftModel) -> Iterator[list[Any]]:
    """Yield the adapted layers of each group."""
    layers = dict(adapter_layers(model))
    shapes = {name: (layer.out_features, layer.in_features) for name, layer in layers.items()}
    for names in groups(list(layers), shapes):
        yield [layers[name] for name in names]
