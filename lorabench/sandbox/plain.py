"""Values between processes that do not trust each other: pickles of which nothing but plain data is ever built.

What leaves a process is cast by its exact type: of a subclass of ``list`` the items go, not its ``__eq__``. What is no plain
data stays where it is, and a stand-in goes. The reading side knows a short list of classes and functions, and no other name of
a pickle means anything to it.
"""

import builtins
import collections
import datetime
import decimal
import fractions
import io
import pickle
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

BASES: dict[type, Callable[[Any], Any]] = {
    int: lambda value: int.__int__(value),
    float: lambda value: float.__float__(value),
    complex: lambda value: complex(complex.__add__(value, 0j)),
    str: lambda value: str.__str__(value),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytes(bytearray.__getitem__(value, slice(None))),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict.copy(value),
    set: lambda value: list(set.__iter__(value)),
    frozenset: lambda value: list(frozenset.__iter__(value)),
}
"""By type, what a value of a subclass of it holds, by the methods of the type itself."""

EXACT = (
    range,
    complex,
    type(Ellipsis),
    type(NotImplemented),
    collections.OrderedDict,
    collections.deque,
    decimal.Decimal,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
)
"""Types beside those of ``BASES`` whose values go as they are; like those they are C's, which no pickle can alter."""

BUILTINS = (*(kind.__name__ for kind in BASES), "range", "bool", "Ellipsis", "NotImplemented")
NUMBERS = "biufc"
"""Kinds of NumPy's types, numbers all."""

VIEWS: tuple[type, type] = (type({}.keys()), type({}.items()))


class Opaque:
    """Something that is no plain data; equal to nothing but itself."""


class Items:
    """What an iterator gave; equal to nothing but itself, as an iterator is."""

    def __init__(self, items: list[Any]):
        """All of them."""
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        """Over the items, each time anew."""
        return iter(self._items)


def opaque() -> Opaque:
    """Stands for what is no plain data."""
    return Opaque()


def keys(items: list[Any]) -> Any:
    """A dictionary's keys."""
    return dict.fromkeys(items).keys()


def pairs(items: list[Any]) -> Any:
    """A dictionary's items."""
    return dict(items).items()


def scalar(dtype: str, raw: bytes) -> Any:
    """A number of NumPy's."""
    return array(dtype, (), raw)[()]


def array(dtype: str, shape: tuple[int, ...], raw: bytes) -> Any:
    """An array of numbers.

    Raises:
        pickle.UnpicklingError: its elements are none.
    """
    import numpy

    if numpy.dtype(dtype).kind not in NUMBERS:
        raise pickle.UnpicklingError(dtype)
    return numpy.frombuffer(bytes(raw), dtype).reshape(shape)


def items(all_of_them: list[Any]) -> Items:
    """Of an iterator."""
    return Items(all_of_them)


def kept(number: int) -> Any:
    """What the other side kept under a number; where nothing can be asked of it, opaque."""
    return Opaque()


def returned(number: int) -> Any:
    """What was kept here under a number, and comes back.

    Raises:
        pickle.UnpicklingError: this side keeps nothing.
    """
    raise pickle.UnpicklingError(number)


def counter(counts: dict[Any, int]) -> Any:
    """How often each key was counted."""
    return collections.Counter(counts)


def fraction(numerator: int, denominator: int) -> Any:
    """Of two whole numbers."""
    return fractions.Fraction(numerator, denominator)


OURS: dict[str, Callable[..., Any]] = {
    made.__name__: made for made in (opaque, keys, pairs, scalar, array, items, counter, fraction, kept, returned)
}
READABLE: dict[tuple[str, str], Any] = {
    **{("builtins", name): getattr(builtins, name) for name in BUILTINS},
    **{(kind.__module__, kind.__qualname__): kind for kind in EXACT if kind.__module__ != "builtins"},
    **{(__name__, name): made for name, made in OURS.items()},
}

NAMED = {id(value) for value in READABLE.values()}

KNOWN = {*BASES, *EXACT, collections.Counter, collections.defaultdict, fractions.Fraction, type, object}
"""Classes that are Python's own."""


class Writer(pickle.Pickler):
    """Its ``keep`` takes what is no plain data, and gives what stands for it: ``kept`` or ``returned``, with a number."""

    def __init__(self, file: io.BytesIO, keep: Callable[[Any], tuple[Any, ...]] | None, own: Container[type]):
        """As ``written``."""
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._keep, self._own = keep, own

    def reducer_override(self, value: Any) -> Any:
        """By the exact type of the value."""
        kind = type(value)
        if kind in EXACT or kind in (bytearray, set, frozenset) or id(value) in NAMED:
            return NotImplemented
        if made := () if kind in self._own else _numbers(value, kind) or _copied(value, kind):
            return made
        if self._keep is not None:
            return self._keep(value)
        if isinstance(value, Iterator):  # nobody can ask for its items later
            return items, (list(value),)
        return opaque, ()


def _numbers(value: Any, kind: type) -> tuple[Any, ...]:
    """What makes a number or an array of NumPy's again; empty for another value."""
    if kind.__module__ == "numpy":
        import numpy

        if kind is numpy.ndarray and value.dtype.kind in NUMBERS:
            return array, (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, numpy.generic) and value.dtype.kind in NUMBERS:
            return scalar, (value.dtype.str, value.tobytes())
    return ()


def _copied(value: Any, kind: type) -> tuple[Any, ...]:
    """What makes a value of another type again, without what a subclass added; empty for one that has no plain type."""
    if kind is collections.Counter:
        return counter, (dict.copy(value),)
    if kind is fractions.Fraction:
        return fraction, (value.numerator, value.denominator)
    if kind in VIEWS:
        return (keys if kind is VIEWS[0] else pairs), (list(value),)
    for base, content in BASES.items():
        if isinstance(value, base):
            return base, (content(value),)
    return ()


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, known: dict[tuple[str, str], Any], arguments: Sequence[Any]):
        super().__init__(file)
        self._known, self._arguments = known, arguments

    def persistent_load(self, number: Any) -> Any:
        return self._arguments[number]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._known[module, name]


def written(value: Any, keep: Callable[[Any], tuple[Any, ...]] | None = None, own: Container[type] = ()) -> bytes:
    """A value as bytes.

    Args:
        value: any object.
        keep: keeps a value that is no plain data; it gives ``kept`` or ``returned`` with the arguments. Without it such a value
            becomes ``Opaque``, and an iterator ``Items``.
        own: classes whose objects are kept, though they may be plain data, too.

    Raises:
        Exception: of many kinds: it is nested too deep, or too large.
    """
    file = io.BytesIO()
    Writer(file, keep, own).dump(value)
    return file.getvalue()


def read(raw: bytes, known: dict[str, Any] | None = None, arguments: Sequence[Any] = ()) -> Any:
    """The value that ``written`` wrote, or that somebody hostile did: its types are of the list in either case.

    Args:
        raw: what was written.
        known: by name, what ``kept`` and ``returned`` are on this side.
        arguments: that the value may have by their numbers.

    Raises:
        Exception: of many kinds: it is no such pickle.
    """
    readable = READABLE | {(__name__, name): made for name, made in (known or {}).items()}
    return _Reader(io.BytesIO(raw), readable, arguments).load()
