"""What cells with the same parts in their configs have in common, made once."""

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from lorabench.errors import UserError
from lorabench.files import canonical_json, digest

T = TypeVar("T")


class Shared:
    """Results by the parts that they are made of, of the cells of one grid.

    Parts are the same if they are one object, as those of a sweep's cells are (``sweeps.sweepers.resolved``): to compare, or to
    hash, the values themselves would take longer than most of what is made of them. What is made must not be changed.
    """

    def __init__(self) -> None:
        # With the parts, or other objects might get their ids.
        self._made: dict[tuple[Hashable, ...], tuple[Sequence[Any], Any, UserError | None]] = {}
        self._entries: dict[tuple[Hashable, str, int], tuple[Any, Any]] = {}

    def of(self, what: Hashable, parts: Sequence[Any], make: Callable[[], T]) -> T:
        """What ``make`` gives, or the UserError that it raises, made once for the same parts.

        >>> shared, part, counted = Shared(), [8], iter("abc")
        >>> [shared.of("what", (each,), lambda: next(counted)) for each in (part, part, [8])]
        ['a', 'a', 'b']

        Args:
            what: is made.
            parts: that decide it.
            make: makes it.
        """
        key = (what, *map(id, parts))
        if (entry := self._made.get(key)) is None:
            try:
                entry = parts, make(), None
            except UserError as error:
                entry = parts, None, error
            self._made[key] = entry
        if entry[2] is not None:
            raise entry[2].with_traceback(None)
        return entry[1]

    def of_entries(self, what: Hashable, tree: Mapping[str, Any], make: Callable[[str, Any], T]) -> list[T]:
        """What ``make`` gives of each entry of a tree, made once for the same entry."""
        entries, values = self._entries, []
        for key, value in tree.items():
            if (entry := entries.get((what, key, id(value)))) is None:
                entry = entries[what, key, id(value)] = value, make(key, value)
            values.append(entry[1])
        return values

    def digest(self, tree: Mapping[str, Any]) -> str:
        """``files.digest`` of a tree, whose entries are shared by other ones.

        >>> from lorabench.files import digest
        >>> tree = {"b": [1.0, {"d": None, "c": "x"}], "a": 1.0}
        >>> Shared().digest(tree) == digest(tree)
        True
        """
        texts = sorted(self.of_entries(digest, tree, _pair))
        return hashlib.sha256(f"{{{','.join(text for _, text in texts)}}}".encode()).hexdigest()[:16]


def _pair(key: str, value: Any) -> tuple[str, str]:
    """A key, to sort by, and the JSON of its entry."""
    return key, f"{json.dumps(key)}:{canonical_json(value)}"
