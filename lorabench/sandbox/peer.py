"""Calls between two processes of which one runs code that must not be trusted: values go as plain data, objects stay.

What is no plain data gets a number, and on the other side a stand-in, ``Remote``: its calls, attributes and items are asked
for. Both sides may ask while they answer: a solution calls a function that a test gave it.
"""

import builtins
import os
import struct
from collections.abc import Callable
from typing import Any

from lorabench.sandbox import plain
from lorabench.sandbox.arguments import Arguments
from lorabench.sandbox.remote import Remote

MOST_BYTES = 1 << 30
"""Of one message."""


class Over(BaseException):
    """No answer will come; no code that is tested may catch it as an exception of its own."""


class Gone(Over):
    """The other process has ended, or says what means nothing."""


class Peer:
    """The other process, behind a pair of pipes.

    Attributes:
        operators: whether its objects compare and calculate by their own methods, see ``Remote``. Where only plain values are
            expected of it they must not: its ``__eq__`` could say yes to all.
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
        self._send(plain.written(value, self.keep if self.keeps else None, self.own))

    def _send(self, raw: bytes) -> None:
        data = memoryview(struct.pack("Q", len(raw)) + raw)
        while data:
            data = data[self._write(self._writer, data) :]

    def receive(self, given: Arguments | None = None) -> Any:
        """The next message, which may have arguments of a call by their numbers.

        Raises:
            Gone: there is none any more, or what came is no message.
        """
        try:
            (length,) = struct.unpack("Q", self._exactly(8))
            if length > MOST_BYTES:
                raise Gone
            return plain.read(self._exactly(length), self._known, given.values if given else ())
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
        given = Arguments(operands[1:], self.own) if operation == "call" and self.keeps else None
        try:
            self.send(("ask", operation, operands))
        except OSError as error:
            self.gone = True
            raise Gone from error
        while True:
            message = self.receive(given)
            kind = message[0] if isinstance(message, tuple) and message else None
            if kind == "ask" and len(message) == 3:
                self.answer(*message[1:])
            elif kind == "value" and len(message) == 3:
                if given is not None:
                    self._change(given, message[2])
                return message[1]
            elif kind == "raised" and len(message) == 3:
                raise self._exception(message[1], message[2], stops=operation == "__next__")
            else:
                self.gone = True
                raise Gone

    def _change(self, given: Arguments, changed: Any) -> None:
        try:
            given.change(changed)
        except Exception as error:  # whatever a message that means nothing raises
            self.gone = True
            raise Gone from error

    def answer(self, operation: Any, operands: Any) -> None:
        """Do what was asked, and say what came of it."""
        try:
            given = Arguments(operands[1:], self.own) if operation == "call" and self.keeps else None
            value = self.operations[operation](*operands)
            if operation == "call" and self.keeps and isinstance(operands[0], type) and operands[0] not in plain.KNOWN:
                self.own.add(operands[0])  # whose objects are wanted with their methods, also where it is a list's class
            if given is None:
                self.send(("value", value, {}))
            else:
                self._send(given.written(value, self.keep, self.own))
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

    def _exception(self, names: Any, arguments: Any, stops: bool) -> BaseException:
        """Python's class of that name. Only the next item of an iterator may be none: elsewhere it would end a test's loop."""
        for name in names if isinstance(names, list) else ():
            kind = self.exceptions.get(name) or getattr(builtins, str(name), None)
            if isinstance(kind, type) and issubclass(kind, StopIteration | StopAsyncIteration) and not stops:
                return RuntimeError(f"the solution raised {names[0]}")
            if isinstance(kind, type) and issubclass(kind, BaseException):
                try:
                    return kind(*arguments)
                except Exception:  # some take arguments of their own
                    return kind.__new__(kind)
        return Exception()
