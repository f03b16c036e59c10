"""What a source is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar


class Row(dict[str, Any]):
    """One example as the data set has it: values by column.

    Args:
        values: by column.
        source: the file or the data set that it stands in, for errors.
        number: its place there, ``line 3`` or ``index 2``.
    """

    __slots__ = ("number", "source")

    def __init__(self, values: Mapping[str, Any], source: str, number: str):
        super().__init__(values)
        self.source, self.number = source, number

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.source}, {self.number}"

    def part(self, values: Mapping[str, Any]) -> "Row":
        """A part of it, or what it stands for, with the same place."""
        return Row(values, self.source, self.number)


class Source(ABC):
    """Rows of one split of a data set.

    ``key`` is, in both methods, the config key under which a user may name another place; errors name it.

    Attributes:
        required: keys of a config node without which there is no such source.
        optional: the other keys that it takes.
    """

    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def fingerprint(self, key: str) -> str:
        """What the rows are: a hash of their content, or names and a revision that pin it."""

    @abstractmethod
    def load(self, key: str) -> list[Row]:
        """Read all rows.

        Raises:
            UserError: they cannot be had, or are not what they should be.
        """
