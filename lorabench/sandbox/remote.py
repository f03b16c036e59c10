"""Stand-ins for objects of another process: their calls, attributes, items and operators are asked for."""

import operator
from collections.abc import Callable
from typing import Any

UNARY: dict[str, Callable[..., Any]] = {
    "__len__": len, "__iter__": iter, "__next__": next, "__bool__": bool, "__str__": str, "__repr__": repr, "__int__": int,
    "__float__": float, "__index__": operator.index, "__abs__": abs, "__neg__": operator.neg, "__pos__": operator.pos,
    "__invert__": operator.invert, "__round__": round, "__reversed__": reversed,
}  # fmt: skip
ITEMS: dict[str, Callable[..., Any]] = {
    "__getitem__": operator.getitem, "__setitem__": operator.setitem, "__delitem__": operator.delitem,
}  # fmt: skip
BINARY: dict[str, Callable[..., Any]] = {
    f"__{name}__": getattr(operator, f"__{name}__")
    for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
        "lt", "le", "gt", "ge", "eq", "ne", "contains",
    )
}  # fmt: skip
CALCULATED = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
CALCULATE = {f"__{name}__" for name in CALCULATED}

OPERATIONS: dict[str, Callable[..., Any]] = {
    **UNARY,
    **ITEMS,
    **BINARY,
    "call": lambda function, arguments, named: function(*arguments, **named),
    "getattr": getattr,
    "setattr": setattr,
    "isinstance": isinstance,
    "enter": lambda context: type(context).__enter__(context),
    "exit": lambda context: type(context).__exit__(context, None, None, None),
}
"""What one side may ask of the other, by name."""


class Remote:
    """Stands for an object of the other process.

    Where it has operators, they are asked for between two such objects. A plain value it may be calculated with, as 2 · v; what
    comes of that can be compared with other objects and tells nothing else, since it has met what a test may expect.
    """

    __slots__ = ("_calculated", "_number", "_peer")
    __iter__: Callable[..., Any]  # set below, with the other operators

    def __init__(self, peer: Any, number: int, calculated: bool = False):
        """Of a ``Peer`` and its number; ``calculated``: it has met a plain operand, and so perhaps what a test expects."""
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_calculated", calculated)

    def _ask(self, operation: str, *operands: Any) -> Any:
        if self._calculated:
            raise TypeError("what was calculated with a plain value says nothing but whether it equals other objects")
        return self._peer.ask(operation, self, *operands)

    def __getattr__(self, name: str) -> Any:
        """Its attribute; special ones are asked for by their operators alone."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set it there."""
        self._ask("setattr", name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it there."""
        return self._ask("call", arguments, named)

    def __instancecheck__(self, value: Any) -> bool:
        """Of a class there, of which an object here is none."""
        return isinstance(value, Remote) and self._peer.ask("isinstance", value, self) is True

    def __enter__(self) -> Any:
        """Enter it there."""
        return self._ask("enter")

    def __exit__(self, *_: Any) -> None:
        """Leave it there; an exception is not shown to it."""
        self._ask("exit")

    def __hash__(self) -> int:
        """Of the number."""
        return hash(self._number)


def _unary(name: str) -> Callable[..., Any]:
    return lambda self, *more: self._ask(name, *more)


def _binary(name: str) -> Callable[..., Any]:
    def method(self: Remote, other: Any) -> Any:
        """By the other side's operators between two of its objects; else equal to itself alone."""
        if self._peer.operators and isinstance(other, Remote):
            return _of_two(self._peer.ask(name, self, other), self._calculated or other._calculated)
        if name == "__contains__":
            return any(item is other or item == other for item in iter(self))
        if name in CALCULATE and self._peer.operators:
            return _calculated(self._peer.ask(name, self, other))
        return {"__eq__": self is other, "__ne__": self is not other}.get(name, NotImplemented)

    return method


def _reflected(name: str) -> Callable[..., Any]:
    return lambda self, other: _calculated(self._peer.ask(name, other, self)) if self._peer.operators else NotImplemented


def _calculated(value: Any) -> Any:
    """What came of a calculation with a plain value: an object that was told of it; a plain one could be what it was told."""
    return Remote(value._peer, value._number, calculated=True) if type(value) is Remote else NotImplemented


def _of_two(value: Any, calculated: bool) -> Any:
    return _calculated(value) if calculated and not isinstance(value, bool) else value


for special in (*UNARY, *ITEMS):
    setattr(Remote, special, _unary(special))
for special in BINARY:
    setattr(Remote, special, _binary(special))
for special in CALCULATED:
    setattr(Remote, f"__r{special}__", _reflected(f"__{special}__"))
