"""Which linear layers a variant adapts where it does not name those that the model has."""

from collections.abc import Callable, Iterable
from typing import Any

from lorabench.models.shapes import Shapes

ALL = "all-linear"
"""Every linear layer but the output head, PEFT's word and meaning."""

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""The linear layers of a block of Llama, Qwen or Gemma: the yamls' default; ``ALL`` is meant where a model lacks one."""

KEYS = ("target_modules", "linear_modules")


def resolved(node: dict[str, Any], shapes: Callable[[], Shapes]) -> dict[str, Any]:
    """A variant's part of the config with names of layers in the place of ``all-linear``, or of a default that does not fit.

    >>> gpt2 = Shapes({"transformer.h.0.attn.c_attn": (12, 4), "transformer.h.0.attn.c_proj": (4, 4)})
    >>> resolved({"target_modules": SEVEN}, lambda: gpt2), resolved({"target_modules": ["c_attn"]}, lambda: gpt2)
    ({'target_modules': ['c_attn', 'c_proj']}, {'target_modules': ['c_attn']})

    Args:
        node: as the user gave it; a cell's identity has it so, and the model's.
        shapes: gives the model's, where they are needed.

    Raises:
        UserError: there is no model whose layers could be named.
    """
    changed = {}
    for key in KEYS:
        if (given := node.get(key)) in (ALL, [ALL], SEVEN):
            names = leaves(shapes())
            if given != SEVEN or not set(SEVEN) <= set(names):
                changed[key] = SEVEN if set(names) == set(SEVEN) else names
    return node | changed


def leaves(names: Iterable[str]) -> list[str]:
    """Last parts of modules' names, each once, in the model's order."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def line(model: str, node: dict[str, Any], made: dict[str, Any], shapes: Callable[[], Shapes]) -> str | None:
    """What to say where names were put into a variant's part of the config; None where none were."""
    changed = [made[key] for key in KEYS if made.get(key) != node.get(key)]
    if not changed:
        return None
    experts = [name for name, shape in shapes().weights.items() if ".experts." in name and len(shape) == 3]
    stay = f"; the experts, such as {experts[0]}, are no linear layers and are not adapted" if experts else ""
    return f"{model}: adapted are its linear layers but the output head: {', '.join(changed[0])}{stay}"
