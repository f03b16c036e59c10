"""Building the parts that a config names, with one line for what does not fit."""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lorabench.annotations import check_fields, is_kind, target_of, text_of
from lorabench.contributed import reason
from lorabench.errors import UserError
from lorabench.hooks import guard

T = TypeVar("T")


def build(node: dict[str, Any], key: str, kind: type[T]) -> T:
    """Instantiate a config node.

    Args:
        node: with ``_target_``.
        key: the node's place in the config, for the error.
        kind: the class that says what such a part is.

    Raises:
        UserError: it names no class, or one of another kind; keys or values do not fit the class, or the class says so.
    """
    if not isinstance(node, dict):
        raise UserError(f"{key}={text_of(node)} is no part; choose one with {key}=NAME")
    named = f"{key}={name}" if (name := node.get("name")) else key
    if "_target_" not in node:
        raise UserError(f"{named}: its yaml has no _target_; name the class, as in _target_: my_file.MyClass")
    target = target_of(node, named)
    if not is_kind(target, kind):  # before anything of it is called
        raise UserError(f"{named}: {node['_target_']} is no {kind.__name__}; derive it from {kind.__module__}.{kind.__name__}")
    check_fields(node, target, f"{key}.")
    if isinstance(target, type):
        guard(target)
    try:
        part = instantiate(node, _convert_="all")
    except (InstantiationException, SystemExit) as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"{named}: cannot build {node['_target_']}: {reason(error.__cause__ or error)}") from error
    if not isinstance(part, kind):
        raise UserError(f"{named}: {node['_target_']} makes no {kind.__name__} with these settings; leave _partial_ out")
    return part


def settings(kind: type[T], values: dict[str, Any], group: str) -> T:
    """A group of plain settings as its dataclass; OmegaConf lets `+GROUP.KEY` and `~GROUP.KEY` through.

    Raises:
        UserError: a key that the dataclass does not have, one that is gone, or a value of another type.
    """
    for field in fields(kind):  # type: ignore[arg-type]
        if is_dataclass(field.type) and "_target_" in (values.get(field.name) or ()):
            raise UserError(
                f"{group}{field.name}._target_ is no setting, as {field.name} is no class of one's own; leave it out"
            )
    parts = {key for key, value in values.items() if isinstance(value, dict) and "_target_" in value}  # which ``build`` checks
    check_fields({key: None if key in parts else value for key, value in values.items()}, kind, group)
    return kind(**values)
