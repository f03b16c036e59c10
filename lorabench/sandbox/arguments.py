"""Arguments that a call changes: what a solution does to a list that a test gave it shows in the test's own list.

Both sides number the lists, dictionaries, sets and byte arrays of a call in the order in which they are pickled, which is the
same on both. The answer says what those hold that have changed, and calls them by their numbers wherever they are in it.
"""

import io
from collections.abc import Callable, Container
from typing import Any

from lorabench.sandbox import plain

MUTABLE = (list, dict, set, bytearray)


class _Counting(plain.Writer):
    """Meets each of ``MUTABLE`` once."""

    def __init__(self, file: io.BytesIO, keep: Callable[[Any], tuple[Any, ...]], own: Container[type]):
        super().__init__(file, keep, own)
        self.met: dict[int, Any] = {}

    def persistent_id(self, value: Any) -> None:
        if type(value) in MUTABLE:
            self.met.setdefault(id(value), value)


class _Naming(plain.Writer):
    """Has numbers in place of the arguments of a call."""

    def __init__(self, file: io.BytesIO, keep: Callable[[Any], tuple[Any, ...]], own: Container[type], numbers: dict[int, int]):
        super().__init__(file, keep, own)
        self.numbers = numbers

    def persistent_id(self, value: Any) -> int | None:
        return self.numbers.get(id(value))


class Arguments:
    """Those of one call that can be changed.

    Args:
        operands: of the call.
        own: classes whose objects are no plain data, see ``plain.written``.
    """

    def __init__(self, operands: Any, own: Container[type]):
        counting = _Counting(io.BytesIO(), lambda value: (plain.opaque, ()), own)
        counting.dump(operands)
        self.values = list(counting.met.values())
        self._before = [_content(value) for value in self.values]

    def written(self, value: Any, keep: Callable[[Any], tuple[Any, ...]], own: Container[type]) -> bytes:
        """The answer to the call: ``value``, and what each argument that was changed holds now, by its number."""
        changed = {}
        for number, (argument, before) in enumerate(zip(self.values, self._before, strict=True)):
            now = _content(argument)
            if len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True)):
                changed[number] = now
        file = io.BytesIO()
        _Naming(file, keep, own, {id(each): number for number, each in enumerate(self.values)}).dump(("value", value, changed))
        return file.getvalue()

    def change(self, changed: Any) -> None:
        """Let the arguments hold what an answer says.

        Raises:
            Exception: of many kinds: it is none.
        """
        for number, content in changed.items():
            argument = self.values[number]
            if isinstance(argument, dict):
                argument.clear()
                argument.update(zip(content[::2], content[1::2], strict=True))
            elif isinstance(argument, set):
                argument.clear()
                argument.update(content)
            else:
                argument[:] = content


def _content(argument: Any) -> tuple[Any, ...]:
    """What is in it, one behind the other; of a dictionary keys and values."""
    if isinstance(argument, dict):
        return tuple(each for pair in argument.items() for each in pair)
    return tuple(argument)
