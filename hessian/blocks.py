"""The matrices of a model as blocks, and the one resolver of which are wanted."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lorabench.errors import UserError, nearest

NAME = re.compile(r"\.(?:layers|h)\.(\d+)\.(?:.*\.)?([^.]+)$")
"""Decoder layer and matrix in a module's name; GPT-2, Falcon and Bloom call the layers ``h``."""


@dataclass(frozen=True)
class Place:
    """A matrix of the model, or all that make up a joint block (then with the lowest layer).

    Attributes:
        name: of the module, such as ``model.layers.0.self_attn.q_proj``.
        layer: number of its decoder layer.
        matrix: last part of the name, such as ``q_proj``; with the one before it where a layer has two (``attn.c_proj``).
    """

    name: str
    layer: int
    matrix: str


@dataclass(frozen=True)
class Block:
    """What one variant trains in one place; it has one record in a study."""

    variant: str
    place: Place


def places_of(names: Iterable[str]) -> list[Place]:
    """The modules of these names that lie in a decoder layer, in their order.

    >>> places_of(["model.layers.3.mlp.up_proj", "lm_head"])
    [Place(name='model.layers.3.mlp.up_proj', layer=3, matrix='up_proj')]
    """
    matches = [(name, match) for name in names if (match := NAME.search(name))]
    count = Counter(match.groups() for _, match in matches)
    return [
        Place(name, int(match.group(1)), match.group(2) if count[match.groups()] == 1 else ".".join(name.split(".")[-2:]))
        for name, match in matches
    ]


def choose(
    model: Sequence[Place],
    adapted: Iterable[str],
    matrices: list[str] | str | None,
    layers: list[int] | int | str | None,
    key: str = "",
) -> list[Place]:
    """Those of a model's matrices that are wanted, in the model's order.

    >>> model = places_of(f"model.layers.{i}.self_attn.{name}" for i in range(2) for name in ("q_proj", "v_proj"))
    >>> [place.name for place in choose(model, [place.name for place in model], "v_proj", "all")]
    ['model.layers.0.self_attn.v_proj', 'model.layers.1.self_attn.v_proj']

    Args:
        model: all of its matrices.
        adapted: names of those that are adapted.
        matrices: a list of names, or a name; ``all`` or None for all that are adapted.
        layers: a list of numbers, or a number; ``all``, ``auto`` or None for all.
        key: what stands before ``matrices`` and ``layers`` on the command line.

    Raises:
        UserError: a name or number that the model or the variant does not have, or none at all.
    """
    present, depths, names_adapted = {place.matrix for place in model}, {place.layer for place in model}, set(adapted)
    with_adapter = [place for place in model if place.name in names_adapted]
    adaptable = {place.matrix for place in with_adapter}
    names = sorted(adaptable) if matrices in ("all", None) else matrices if isinstance(matrices, list) else [str(matrices)]
    for name in names:
        if name not in present:
            raise UserError(f"{key}matrices: the model has no linear layer '{name}'; {nearest(str(name), present)}")
        if name not in adaptable:
            raise UserError(f"{key}matrices: no adapter on '{name}'; available: {', '.join(sorted(adaptable))}")
    numbers = sorted(depths) if layers in ("all", "auto", None) else layers if isinstance(layers, list) else [layers]
    for number in numbers:
        if number not in depths:
            raise UserError(f"{key}layers: the model has no layer {number}; available: 0 … {max(depths, default=0)}, all")
    matching = {place for place in with_adapter if place.matrix in names}
    bare = [number for number in numbers if number not in {place.layer for place in matching}]
    if bare and isinstance(layers, int | list):
        raise UserError(f"{key}layers: no adapter in layer {bare[0]}; leave it out, or {key}layers for all that have one")
    chosen = [place for place in model if place in matching and place.layer in numbers]
    if not chosen:
        raise UserError(f"{key}matrices={matrices} and {key}layers={layers} name no block; leave them out for all")
    return chosen
