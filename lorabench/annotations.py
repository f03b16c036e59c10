"""Values from a config, checked by annotations: once, for every class that a config builds."""

import dataclasses
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from hydra._internal.utils import _locate

from lorabench.contributed import hidden_by, reason
from lorabench.errors import UserError, nearest
from lorabench.signatures import parameters_of

HYDRAS = ("_target_", "_convert_", "_recursive_", "_partial_", "_args_")
"""Keys of a node that are Hydra's own."""

WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    type(None): ("null", "null"),
}
"""What a plain type is called: one, and several in a list."""

KEYS = "keys with values"

LONGEST = 200
"""Characters of the name of a class."""

WHOLE = 2**63
"""Whole numbers lie below it: tensors and generators of random numbers take no larger ones."""


class Mismatch(NamedTuple):
    """A value that is none of what its annotation allows."""

    key: str
    value: Any
    requirement: str
    hint: str = ""


def target_of(node: Mapping[str, Any], place: str) -> Any:
    """The class, or function, that a config node names.

    Args:
        node: with ``_target_``.
        place: of the node in the config, for the error.

    Raises:
        UserError: it is no name, or cannot be imported.
    """
    name = node["_target_"]
    if not isinstance(name, str) or not name.strip(". ") or len(name) > LONGEST:
        raise UserError(f"{place}: _target_={text_of(name)} names no class; leave it as the yaml has it, or write MODULE.CLASS")
    try:
        return _locate(node["_target_"])  # what hydra.utils.get_object calls, which prints lines of its own
    except (Exception, SystemExit) as error:  # whatever the import of a contributor's module raises
        why = f"({reason(error.__cause__ or error)}){hidden_by(name)}"
        raise UserError(f"{place}: cannot import {name} {why}") from error


def is_kind(target: Any, kind: type) -> bool:
    """Whether what a config names is a class of this kind: a function could do anything before one sees what it makes."""
    return isinstance(target, type) and issubclass(target, kind)


def check_fields(values: Mapping[str, Any], target: Any, place: str) -> None:
    """Check the settings of a class, and of the parts inside them.

    A number is finite, and a whole one is written without a point; ``true`` is no number, and ``"5"`` is a text. A blank text
    names nothing and is no value, but where a field's own default is one. What an annotation says that is no type of a config
    (a protocol, a callable) is not checked.

    Args:
        values: by the names of its fields, or of its constructor's parameters.
        target: a class, or a function that makes a part.
        place: what stands before the names on the command line, such as ``variant.``.

    Raises:
        UserError: a name that it does not have, one that is missing, or a value of another type.
    """
    parameters, takes_all = parameters_of(target)
    settings = {str(key): value for key, value in values.items() if key not in HYDRAS}
    for key, value in settings.items():
        if key in parameters:
            check(value, parameters[key].annotation, f"{place}{key}")
            _refuse_blank(value, parameters[key], f"{place}{key}")
        elif not takes_all:
            raise UserError(f"unknown key '{place}{key}'; {nearest(key, parameters)}")
    if values.get("_partial_") or "_args_" in values:
        return
    for key, parameter in parameters.items():
        if key not in settings and parameter.default is parameter.empty:
            raise UserError(f"{place}{key} is missing; give {place}{key}=VALUE, or a value in the yaml")


def check(value: Any, annotation: Any, key: str) -> None:
    """Raise UserError unless a value is what an annotation allows.

    >>> check([0.9, 1], tuple[float, float], "betas")
    >>> check(None, int | None, "every")
    """
    if mismatch := _mismatch(value, annotation, key):
        raise UserError(f"{mismatch.key}={text_of(mismatch.value)} must be {mismatch.requirement}{mismatch.hint}")


def _refuse_blank(value: Any, parameter: inspect.Parameter, key: str) -> None:
    """Raise UserError for a text without a character, which code that asks ``if path`` would take for none."""
    if is_blank(value) and not is_blank(parameter.default):
        null = ", or null" if _mismatch(None, parameter.annotation, key) is None else ""
        raise UserError(f"{key}={text_of(value)} is blank; give a text{null}")


def is_blank(value: Any) -> bool:
    """Whether it is a text without a visible character."""
    return isinstance(value, str) and not value.strip()


def requirement_at(key: str, cls: type) -> str | None:
    """What must stand at a key of a dataclass and those inside it; None where that may be anything.

    >>> from lorabench.schema import Config
    >>> requirement_at("trainer.betas", Config), requirement_at("train_samples", Config)
    ('a list of 2 numbers', 'a whole number or null')
    """
    annotation: Any = cls
    for name in key.split("."):
        known = isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
        parameters = parameters_of(annotation)[0] if known else {}
        if name not in parameters:
            return None
        annotation = parameters[name].annotation
    mismatch = _mismatch(Mismatch, annotation, key)  # which no field takes
    return mismatch.requirement if mismatch else None


def text_of(value: Any, most: int = 80) -> str:
    """A value as one would write it in an override, cut where it is long.

    >>> text_of(None), text_of([True, 0.5]), text_of("5")
    ('null', '[true,0.5]', '"5"')
    """
    if value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    elif isinstance(value, int) and abs(value) >= WHOLE:
        text = "<many digits>"  # Python itself writes no more than 4,300
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False) if _reads_as_another_type(value) else " ".join(value.split())
    elif isinstance(value, list | tuple):
        text = f"[{','.join(text_of(item, most) for item in value)}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {text_of(item, most)}' for key, item in value.items())}}}"
    else:
        text = str(value)
    return text if len(text) <= most else text[:most] + "…"


def _reads_as_another_type(text: str) -> bool:
    if is_blank(text) or text.lower() in ("null", "true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _mismatch(value: Any, annotation: Any, key: str) -> Mismatch | None:
    """What is wrong, at the place where it is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _mismatch(value, arguments[0], key)
    if origin in (typing.Union, types.UnionType):
        mismatches = [_mismatch(value, choice, key) for choice in arguments]
        if None in mismatches:
            return None
        inside = [mismatch for mismatch in mismatches if mismatch and mismatch.key != key]
        wanted = " or ".join(dict.fromkeys(mismatch.requirement for mismatch in mismatches if mismatch))
        hint = "".join(dict.fromkeys(mismatch.hint for mismatch in mismatches if mismatch))
        return inside[0] if inside else Mismatch(key, value, wanted, hint)
    if origin is typing.Literal:
        fits = any(type(value) is type(choice) and value == choice for choice in arguments)
        return None if fits else Mismatch(key, value, "one of " + ", ".join(map(text_of, arguments)))
    kind = origin or annotation
    if annotation in (None, types.NoneType):
        return None if value is None else Mismatch(key, value, "null")
    if not isinstance(kind, type) or kind in (Any, object, Callable) or getattr(kind, "_is_protocol", False):
        _inside(value, key)  # Any, or no type of a config
        return None
    if kind in WORDS:
        return None if _is_plain(value, kind) else Mismatch(key, value, _plain_words(value, kind))
    if issubclass(kind, PurePath):
        return None if isinstance(value, str | PurePath) else Mismatch(key, value, "a path")
    if issubclass(kind, Mapping):
        return _mapping_mismatch(value, arguments or (Any, Any), key)
    if issubclass(kind, Iterable) and kind.__module__ in ("builtins", "collections.abc"):
        return _list_mismatch(value, kind, arguments, key)
    return _part_mismatch(value, kind, key)


def _inside(value: Any, key: str) -> None:
    """Check the parts inside what may be anything."""
    if isinstance(value, dict):
        if "_target_" in value:
            target = target_of(value, key)
            if not isinstance(target, type):  # a call of any function there is, os.system too
                raise UserError(f"{key}._target_={value['_target_']} is no class; name one, as in _target_: my_file.MyClass")
            check_fields(value, target, f"{key}.")
        else:
            for name, item in value.items():
                _inside(item, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _inside(item, f"{key}[{i}]")


def _is_plain(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and -WHOLE <= value < WHOLE
    if kind is float:
        return (type(value) is int and -WHOLE <= value < WHOLE) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, kind)


def _plain_words(value: Any, kind: type) -> str:
    if kind is float and isinstance(value, float):
        return "a finite number"
    if kind in (int, float) and type(value) is int:
        return f"{WORDS[kind][0]} of at most 18 digits"
    return WORDS[kind][0]


def _mapping_mismatch(value: Any, arguments: tuple[Any, ...], key: str) -> Mismatch | None:
    if not isinstance(value, Mapping):
        return Mismatch(key, value, KEYS, f"; set them one by one, as {key}.KEY=VALUE")
    if "_target_" in value:
        _inside(value, key)
        return None
    for name, item in value.items():
        if mismatch := _mismatch(name, arguments[0], f"{key}.{name}") or _mismatch(item, arguments[1], f"{key}.{name}"):
            return mismatch
    return None


def _list_mismatch(value: Any, kind: type, arguments: tuple[Any, ...], key: str) -> Mismatch | None:
    fixed = kind is tuple and arguments and arguments[-1] is not Ellipsis
    items = list(arguments) if fixed else []
    several = WORDS.get(arguments[0], ("", ""))[1] if arguments else ""
    wanted = " ".join(filter(None, ["a list of" if several or fixed else "a list", str(len(items)) if fixed else "", several]))
    if not isinstance(value, list | tuple) or (fixed and len(value) != len(items)):
        an_item = isinstance(value, str | int | float) and not (arguments and _mismatch(value, arguments[0], key))
        return Mismatch(key, value, wanted, f"; write {key}=[{text_of(value)}]" if an_item and not fixed else "")
    if several == WORDS[str][1] and (twice := [item for i, item in enumerate(value) if item in value[:i]]):
        return Mismatch(key, value, "a list of different texts", f"; leave out the second {text_of(twice[0])}")
    if not fixed:
        items = [arguments[0] if arguments else Any] * len(value)
    for i, (item, annotation) in enumerate(zip(value, items, strict=True)):
        if mismatch := _mismatch(item, annotation, f"{key}[{i}]"):
            return mismatch
    return None


def _part_mismatch(value: Any, kind: type, key: str) -> Mismatch | None:
    """Of a class: an instance, the settings of a dataclass, or a node that names a class of this kind."""
    if isinstance(value, kind):
        return None
    if isinstance(value, dict) and "_target_" in value:
        target = target_of(value, key)
        if not is_kind(target, kind):
            return Mismatch(f"{key}._target_", value["_target_"], f"a {kind.__name__}")
        _inside(value, key)
        return None
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        check_fields(value, kind, f"{key}.")
        return None
    return Mismatch(key, value, KEYS if dataclasses.is_dataclass(kind) else "a node with a _target_")
