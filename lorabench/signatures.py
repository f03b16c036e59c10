"""What a class says of the values that it takes: its parameters, with their annotations resolved."""

import dataclasses
import inspect
import sys
from functools import cache
from typing import Any

from lorabench.contributed import reason
from lorabench.errors import UserError


@cache
def parameters_of(target: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters of what a config builds, their annotations as objects, and whether it takes any others besides."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # of C, which tells nothing
        return {}, True
    annotations = annotations_of(target)
    named = {
        name: parameter.replace(annotation=annotations.get(name, Any))
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return named, any(parameter.kind == parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def annotations_of(target: Any) -> dict[str, Any]:
    """By name; one that names what is imported for type checkers alone is left out."""
    holders = _holders(target) if isinstance(target, type) else [target]
    resolved: dict[str, Any] = {}
    for holder in holders:
        module = sys.modules.get(getattr(holder, "__module__", ""))
        for name, annotation in inspect.get_annotations(holder).items():
            try:
                resolved[name] = eval(annotation, dict(vars(module))) if isinstance(annotation, str) else annotation
            except (NameError, AttributeError):
                resolved[name] = Any
            except Exception as error:  # whatever a contributor's annotation raises
                place = f"{holder.__module__}.{holder.__qualname__}: {name}"
                raise UserError(f"{place} is annotated with {annotation}, which is no type ({reason(error)})") from error
    return resolved


def _holders(cls: type) -> list[Any]:
    """What annotates a class's parameters: its constructor, or the dataclasses whose fields a generated one takes."""
    for base in cls.__mro__:
        for name in ("__new__", "__init__"):  # in the order of `inspect.signature`
            constructor = getattr(base, name)
            if name not in vars(base) or not inspect.isfunction(constructor):
                continue
            if dataclasses.is_dataclass(base) and constructor.__code__.co_filename == "<string>":
                return list(reversed(base.__mro__))
            return [constructor]
    return []
