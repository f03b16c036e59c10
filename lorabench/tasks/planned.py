"""Tasks whose experiments can be planned, and whose data and scorers are not part of this version."""

from dataclasses import dataclass
from typing import NoReturn

from lorabench.errors import UserError
from lorabench.tasks.base import Example, Task


@dataclass(kw_only=True)
class Planned(Task):
    """A name for ``plan=true``: the grid is counted and checked; running it is refused with one line."""

    def _refuse(self) -> NoReturn:
        raise UserError(
            f"task={self.name} can be planned (plan=true) but not run in this version; run task=math or task=arithmetic"
        )

    def source_examples(self) -> list[Example]:
        """Refused."""
        self._refuse()

    def all_test_examples(self) -> list[Example]:
        """Refused."""
        self._refuse()

    def prompt(self, example: Example) -> str:
        """Refused."""
        self._refuse()

    def score(self, example: Example, completion: str) -> float:
        """Refused."""
        self._refuse()

    def fingerprint(self) -> str:
        """Refused."""
        self._refuse()
