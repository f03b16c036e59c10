"""Calls between two processes of which one runs code that must not be trusted: values go as plain data, objects stay.

What is no plain data gets a number, and on the other side a stand-in, ``Remote``: its calls, attributes and items are asked
for. Both sides may ask while they answer: a solution calls a function that a test gave it.
"""

import builtins
import operator
import os
import struct
from collections.abc import Callable
from typing import Any

from lorabench.sandbox import plain

MOST_BYTES = 1 << 30
"""Of one message."""

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
REFLECTED = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")

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


class Over(BaseException):
    """No answer will come; no code that is tested may catch it as an exception of its own."""


class Gone(Over):
    """The other process has ended, or says what means nothing."""


class Remote:
    """Stands for an object of the other process."""

    __slots__ = ("_number", "_peer")
    __iter__: Callable[..., Any]  # set below, with the other operators

    def __init__(self, peer: "Peer", number: int):
        """Of the other side's number."""
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> Any:
        """Its attribute; special ones are asked for by their operators alone."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set it there."""
        self._peer.ask("setattr", self, name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it there."""
        return self._peer.ask("call", self, arguments, named)

    def __instancecheck__(self, value: Any) -> bool:
        """Of a class there, of which an object here is none."""
        return isinstance(value, Remote) and self._peer.ask("isinstance", value, self) is True

    def __enter__(self) -> Any:
        """Enter it there."""
        return self._peer.ask("enter", self)

    def __exit__(self, *_: Any) -> None:
        """Leave it there; an exception is not shown to it."""
        self._peer.ask("exit", self)

    def __hash__(self) -> int:
        """Of the number."""
        return hash(self._number)


def _unary(name: str) -> Callable[..., Any]:
    return lambda self, *more: self._peer.ask(name, self, *more)


def _binary(name: str) -> Callable[..., Any]:
    def method(self: Remote, other: Any) -> Any:
        """Without the other side's operators: equal to itself alone, and holding what its iterator gives."""
        if self._peer.operators:
            return self._peer.ask(name, self, other)
        if name == "__contains__":
            return any(item is other or item == other for item in iter(self))
        return {"__eq__": self is other, "__ne__": self is not other}.get(name, NotImplemented)

    return method


def _reflected(name: str) -> Callable[..., Any]:
    return lambda self, other: self._peer.ask(name, other, self) if self._peer.operators else NotImplemented


for special in (*UNARY, *ITEMS):
    setattr(Remote, special, _unary(special))
for special in BINARY:
    setattr(Remote, special, _binary(special))
for special in REFLECTED:
    setattr(Remote, f"__r{special}__", _reflected(f"__{special}__"))


class Peer:
    """The other process, behind a pair of pipes.

    Attributes:
        operators: whether its objects compare and calculate by their own methods, which see the other operand. Where only plain
            values are expected of it they must not: its ``__eq__`` could say yes to all.
        operations: that it may ask of this side.
        exceptions: classes of exceptions of its own by name, beside Python's.
        own: classes of this side that it has made objects of.
        gone: whether it has ended.
    """

    def __init__(
        self, reader: int, writer: int, operations: dict[str, Callable[..., Any]], operators: bool = True, keeps: bool = True
    ):
        """Of open descriptors.

        Args:
            reader: of what it says.
            writer: of what it is told.
            operations: see the class.
            operators: see the class.
            keeps: whether what is no plain data can be asked for later.
        """
        self.operations, self.operators, self.keeps, self.gone = operations, operators, keeps, False
        self.exceptions: dict[str, type[BaseException]] = {}
        self.own: set[type] = set()
        self._reader, self._writer = reader, writer
        self._kept: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._remotes: dict[int, Remote] = {}
        self._known: dict[str, Any] = {} if not keeps else {"kept": self._remote, "returned": self._kept.__getitem__}
        self._read, self._write = os.read, os.write  # before a solution can change them

    def _remote(self, number: int) -> Remote:
        return self._remotes.setdefault(number, Remote(self, number))

    def keep(self, value: Any) -> tuple[Any, ...]:
        """What stands for an object that stays here, or was the other side's."""
        if type(value) is Remote:
            return plain.returned, (value._number,)
        number = self._numbers.setdefault(id(value), len(self._numbers))
        self._kept[number] = value  # so that its id stays its own
        return plain.kept, (number,)

    def send(self, value: Any) -> None:
        """One message."""
        raw = plain.written(value, self.keep if self.keeps else None, self.own)
        data = memoryview(struct.pack("Q", len(raw)) + raw)
        while data:
            data = data[self._write(self._writer, data) :]

    def receive(self) -> Any:
        """The next message.

        Raises:
            Gone: there is none any more, or what came is no message.
        """
        try:
            (length,) = struct.unpack("Q", self._exactly(8))
            if length > MOST_BYTES:
                raise Gone
            return plain.read(self._exactly(length), self._known)
        except Gone:
            self.gone = True
            raise
        except Exception as error:  # of the many that a damaged pickle raises
            self.gone = True
            raise Gone from error

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._read(self._reader, min(length - len(data), 1 << 20))
            if not part:
                raise Gone
            data += part
        return bytes(data)

    def ask(self, operation: str, *operands: Any) -> Any:
        """What the other side answers.

        Raises:
            BaseException: what the operation raised there, as Python's class of that name.
            Gone: the other side has ended.
        """
        try:
            self.send(("ask", operation, operands))
        except OSError as error:
            self.gone = True
            raise Gone from error
        while True:
            message = self.receive()
            kind = message[0] if isinstance(message, tuple) and message else None
            if kind == "ask" and len(message) == 3:
                self.answer(*message[1:])
            elif kind == "value" and len(message) == 2:
                return message[1]
            elif kind == "raised" and len(message) == 3:
                raise self._exception(*message[1:])
            else:
                self.gone = True
                raise Gone

    def answer(self, operation: Any, operands: Any) -> None:
        """Do what was asked, and say what came of it."""
        try:
            value = self.operations[operation](*operands)
            if operation == "call" and self.keeps and isinstance(operands[0], type) and operands[0] not in plain.KNOWN:
                self.own.add(operands[0])  # whose objects are wanted with their methods, also where it is a list's class
            self.send(("value", value))
        except (Over, OSError):
            raise
        except BaseException as error:  # also of a value that is nested too deep, or too large
            self._say_raised(error)

    def _say_raised(self, error: BaseException) -> None:
        names = [kind.__name__ for kind in type(error).__mro__]
        try:
            self.send(("raised", names, tuple(error.args)))
        except (Over, OSError):
            raise
        except BaseException:
            self.send(("raised", names, ()))

    def _exception(self, names: Any, arguments: Any) -> BaseException:
        for name in names if isinstance(names, list) else ():
            kind = self.exceptions.get(name) or getattr(builtins, str(name), None)
            if isinstance(kind, type) and issubclass(kind, BaseException):
                try:
                    return kind(*arguments)
                except Exception:  # some take arguments of their own
                    return kind.__new__(kind)
        return Exception()
