"""What may stand under ``hydra.sweeper``: each check names the key, what was found and what is allowed."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sweeps.errors import SweepError
from sweeps.search.base import Search
from sweeps.search.design import DESIGNS

PLAIN: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def whole(key: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise SweepError unless the value is a whole number within the bounds."""
    if not is_a(int, value) or value < least or (most is not None and value > most):
        raise _wrong(key, value, f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}"))


def share(key: str, value: Any) -> None:
    """Raise SweepError unless the value is a part of one."""
    if not is_a(float, value) or not 0 <= value <= 1:
        raise _wrong(key, value, "a number between 0 and 1")


def text(key: str, value: Any, what: str) -> None:
    """Raise SweepError unless the value is a text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(key, value, what)


def file_name(key: str, value: Any, what: str) -> None:
    """Raise SweepError unless the value is a text that names a file and no place: journals have it in their names."""
    text(key, value, what)
    if not re.fullmatch(r"\w[\w .+=-]*", value):
        raise _wrong(key, value, what)


def overrides(key: str, value: Any) -> None:
    """Raise SweepError unless the value is a list of overrides."""
    if not _texts(value) or not all("=" in text or text.startswith("~") for text in value):
        raise _wrong(key, value, "a list of overrides, as [train_fraction=1,subset=random], or []")


def keys(key: str, value: Any) -> None:
    """Raise SweepError unless the value is a list of keys."""
    if not _texts(value):
        raise _wrong(key, value, "a list of keys, as [seed], or []")


def swept(key: str, value: Any) -> None:
    """Raise SweepError unless the value gives keys their values, or is None."""
    if value is not None and not isinstance(value, Mapping):
        raise _wrong(key, value, "null or keys with their values, as {lr: '1e-4,1e-3'}")


def products(key: str, value: Any) -> None:
    """Raise SweepError unless the value gives keys products of others, or is None."""
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(rule, str) for rule in value.values())):
        raise _wrong(key, value, "null or keys with products of others, as {variant.alpha: rank * alpha_mult}")


def first_points(initial: Any, kind: Any) -> None:
    """Raise SweepError unless they are a number of first points and a design."""
    whole("initial", initial, 0)
    if kind not in DESIGNS:
        raise SweepError(f"hydra.sweeper.design={_show(kind)} is none of {', '.join(DESIGNS)}")


def method(make: Callable[..., Any], name: str, skip: int) -> None:
    """Check the settings that a config node binds to a search method.

    Args:
        make: the method's class, or it with its settings (``_partial_: true``).
        name: of the method.
        skip: its first so many parameters are not for the config to set.

    Raises:
        SweepError: one that it has not, one that it lacks, or a plain value of another kind than it wants.
    """
    if not callable(make):
        raise SweepError(f"hydra.sweeper.method={_show(make)} is no method: choose one with hydra/sweeper=NAME")
    target = getattr(make, "func", make)
    if isinstance(target, type) and not issubclass(target, Search):
        raise SweepError(
            f"hydra.sweeper.method._target_={target.__module__}.{target.__qualname__} is no search method; derive it from "
            "sweeps.search.base.Search"
        )
    if not isinstance(make, partial):
        return
    wanted = dict(list(inspect.signature(make.func).parameters.items())[skip:])
    for key, value in make.keywords.items():
        if key not in wanted:
            choice = f"its settings: {', '.join(wanted)}" if wanted else "it has none"
            raise SweepError(f"hydra.sweeper.method.{key} is no setting of {name}; {choice}")
        kind = wanted[key].annotation
        if kind in PLAIN and not is_a(kind, value):
            raise _wrong(f"method.{key}", value, PLAIN[kind])
        if kind not in PLAIN and kind is not inspect.Parameter.empty and isinstance(value, tuple(PLAIN)):
            raise SweepError(
                f"hydra.sweeper.method.{key}={_show(value)} must be a node with a _target_; set one of its keys instead, "
                f"hydra.sweeper.method.{key}.KEY"
            )
    if missing := [key for key, setting in wanted.items() if setting.default is setting.empty and key not in make.keywords]:
        raise SweepError(f"hydra.sweeper.method.{missing[0]} is missing, which {name} needs")


def is_a(kind: type, value: Any) -> bool:
    """Whether a value is of a plain kind: 1 is a number, true is none.

    >>> is_a(float, 1), is_a(int, True), is_a(int, 1.0)
    (True, False, False)
    """
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(text, str) for text in value)


def _wrong(key: str, value: Any, what: str) -> SweepError:
    return SweepError(f"hydra.sweeper.{key}={_show(value)} must be {what}")


def _show(value: Any) -> str:
    """As one writes it in an override."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
