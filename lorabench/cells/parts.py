"""Building the parts that a config names, with one line for what does not fit."""

from dataclasses import fields
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lorabench.errors import UserError, nearest

T = TypeVar("T")


def build(node: dict[str, Any], key: str) -> Any:
    """Instantiate a config node.

    Args:
        node: with ``_target_``.
        key: the node's place in the config, for the error.

    Raises:
        UserError: the keys do not fit the class, or the class says so.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{key}={node.get('name')}: cannot build {node.get('_target_')}: {reason}") from error


def settings(kind: type[T], values: dict[str, Any], group: str) -> T:
    """A group of plain settings as its dataclass; OmegaConf lets `+GROUP.KEY` through.

    Raises:
        UserError: a key that the dataclass does not have.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := [key for key in values if key not in names]:
        raise UserError(f"unknown key '{group}{unknown[0]}'; {nearest(unknown[0], names)}")
    return kind(**values)
