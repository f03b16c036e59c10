"""What the values of a config depend on, read off its interpolations before any is resolved."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
"""A place in a config: its key, taken apart at the dots."""

INNERMOST = re.compile(r"\$\{([^${}]*)\}")
MADE = re.compile(r"\$\{[^:{}]*\$\{[^{}]*\}[^:{}]*:")
"""An interpolation whose resolver is named by another one."""
RESOLVED = "\0"
"""Stands for an interpolation inside another one."""


def path_of(key: str) -> Path:
    """A dotted key taken apart.

    >>> path_of("task.columns[0]")
    ('task', 'columns', '0')
    """
    return tuple(key.replace("[", ".").replace("]", "").split("."))


def overlap(first: Path, second: Path) -> bool:
    """Whether one place is the other one, or lies in it."""
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


class References:
    """The interpolations of a config. A resolver is taken for a function of its arguments, of which each text may be a key.

    >>> tree = {"rank": 8, "variant": {"rank": "${rank}", "alpha": "${.rank}"}, "lr": 0.1, "b": {"c": "${${lr}}"}}
    >>> references = References(tree)
    >>> [sorted(references.reach(key, [("rank",), ("lr",)])) for key in tree]
    [[('rank',)], [('rank',)], [('lr',)], [('lr',), ('rank',)]]

    Args:
        tree: a config in plain containers, its interpolations as texts.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        texts = dict(_interpolations(tree, ()))
        self._texts = list(texts.values())
        self._named = {place: _named(text, place[:-1]) for place, text in texts.items()}

    def call(self, *resolvers: str) -> bool:
        """Whether one of these resolvers may be called; one whose name is made of an interpolation may be any.

        >>> References({"a": "${oc.env:HOME}"}).call("oc.env"), References({"a": "${b}", "b": "oc.env"}).call("oc.env")
        (True, False)
        >>> References({"a": "${oc.${b}:HOME}", "b": "env"}).call("oc.env")
        True
        """
        return any(resolver in text for resolver in resolvers for text in self._texts) or any(map(MADE.search, self._texts))

    def reach(self, key: str, places: list[Path]) -> set[Path]:
        """Those of the places on which the value of a key may depend; all, where an interpolation is made of another one."""
        seen: set[Path] = set()
        waiting: list[Path] = [(key,)]
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            for place, named in self._named.items():
                if overlap(place, here):
                    if named is None:
                        return set(places)
                    waiting += named
        return {place for place in places if any(overlap(place, here) for here in seen)}


def _interpolations(value: Any, place: Path) -> Iterator[tuple[Path, str]]:
    """Every text with an interpolation, by its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _interpolations(item, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _interpolations(item, (*place, str(number)))
    elif is_interpolated(value):
        yield place, value


def is_interpolated(value: Any) -> bool:
    """Whether a value is a text with an interpolation."""
    return isinstance(value, str) and "${" in value


def _named(text: str, parent: Path) -> set[Path] | None:
    """The places that a text names; None where only resolving would tell.

    >>> sorted(_named("${samples_of:${oc.select:task.train,null}}", ()))
    [('null',), ('task', 'train')]
    """
    keys: list[str] = []
    while inner := INNERMOST.search(text):
        name, colon, arguments = inner.group(1).partition(":")
        words = [word.strip("[]'\" \t") for word in arguments.split(",")] if colon else [name]
        nested = [word for word in words if RESOLVED in word]
        if RESOLVED in name or any(word != RESOLVED for word in nested) or (nested and name.startswith("oc.")):
            return None
        keys += [word for word in words if word and word not in nested]
        text = text[: inner.start()] + RESOLVED + text[inner.end() :]
    return None if "${" in text else {_absolute(key, parent) for key in keys}


def _absolute(key: str, parent: Path) -> Path:
    """A key of which each leading dot but the first goes up one container."""
    name = key.lstrip(".")
    up = len(key) - len(name)
    base = parent[: max(0, len(parent) - up + 1)] if up else ()
    return (*base, *path_of(name))
