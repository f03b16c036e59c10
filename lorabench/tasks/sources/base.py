"""What a source is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from lorabench.errors import UserError

Row = dict[str, Any]
"""One example as the data set has it: values by column."""


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


def checked_rows(content: Any, place: str) -> list[Row]:
    """Return the content of a JSON file as rows; ``place`` names the file.

    Raises:
        UserError: it is something else than a list of objects.
    """
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{place} must hold a list of objects, one for each example")
    return content
