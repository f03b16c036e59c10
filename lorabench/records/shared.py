"""What cells with the same parts in their configs have in common, made once."""

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar, cast

from lorabench.errors import UserError
from lorabench.files import canonical_json

T = TypeVar("T")


class Shared:
    """Results by the parts that they are made of, of the cells of one grid.

    Parts are the same if they are one object, as those of a sweep's cells are (``sweeps.sweepers.resolved``): to compare, or to
    hash, the values themselves would take longer than most of what is made of them. What is made must not be changed.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Hashable, ...], tuple[Sequence[Any], Any]] = {}

    def of(self, what: Hashable, parts: Sequence[Any], make: Callable[[], T]) -> T:
        """What ``make`` gives, or the UserError that it raises, made once for the same parts.

        >>> shared, rank = Shared(), [8]
        >>> [shared.of("rank", (part,), lambda: next(counted)) for part in (rank, rank, [8])] if (counted := iter("abc")) else None
        ['a', 'a', 'b']

        Args:
            what: is made.
            parts: that decide it.
            make: makes it.
        """
        key = (what, *map(id, parts))
        if key not in self._made:
            try:
                self._made[key] = parts, make()  # with the parts, or other objects might get their ids
            except UserError as error:
                self._made[key] = parts, error
        made = self._made[key][1]
        if isinstance(made, UserError):
            raise made.with_traceback(None)
        return cast(T, made)

    def digest(self, tree: Mapping[str, Any]) -> str:
        """``files.digest`` of a tree, whose entries are shared by other ones.

        >>> from lorabench.files import digest
        >>> tree = {"b": [1.0, {"d": None, "c": "x"}], "a": 1.0}
        >>> Shared().digest(tree) == digest(tree)
        True
        """
        texts = [f"{json.dumps(key)}:{self._json(tree[key])}" for key in sorted(tree)]
        return hashlib.sha256(f"{{{','.join(texts)}}}".encode()).hexdigest()[:16]

    def _json(self, value: Any) -> str:
        return self.of("json", (value,), lambda: canonical_json(value))
