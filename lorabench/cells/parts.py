"""Building the parts that a config names, with one line for what does not fit."""

from dataclasses import fields
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lorabench.errors import UserError, nearest

T = TypeVar("T")


def build(node: dict[str, Any], key: str, kind: type[T]) -> T:
    """Instantiate a config node.

    Args:
        node: with ``_target_``.
        key: the node's place in the config, for the error.
        kind: the class that says what such a part is.

    Raises:
        UserError: it names no class, or one of another kind; the keys do not fit the class, or the class says so.
    """
    named = f"{key}={node.get('name')}"
    if "_target_" not in node:
        raise UserError(f"{named}: its yaml has no _target_; name the class, as in _target_: my_file.MyClass")
    try:
        part = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{named}: cannot build {node.get('_target_')}: {reason}") from error
    if not isinstance(part, kind):
        raise UserError(f"{named}: {node['_target_']} is no {kind.__name__}; derive it from {kind.__module__}.{kind.__name__}")
    return part


def settings(kind: type[T], values: dict[str, Any], group: str) -> T:
    """A group of plain settings as its dataclass; OmegaConf lets `+GROUP.KEY` through.

    Raises:
        UserError: a key that the dataclass does not have.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := [key for key in values if key not in names]:
        raise UserError(f"unknown key '{group}{unknown[0]}'; {nearest(unknown[0], names)}")
    return kind(**values)
