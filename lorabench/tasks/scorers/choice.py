"""choice: the first option that the completion names is the right one."""

import re
from collections.abc import Sequence

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer

OPTIONS = 100
"""Different responses that are still a choice."""


class Choice(Scorer):
    """1 where the first of the options that stands in the completion, as whole words, is the response.

    The options are the different responses of the data; capitals do not matter, and of two that begin at one place the longer
    one counts. As in the commonsense sets of paper 1, the completion may say more.
    """

    def __init__(self) -> None:
        self._options = re.compile("(?!)")

    def check(self, answers: Sequence[str]) -> None:
        """The options are few, and more than one."""
        options = sorted({answer.strip().casefold() for answer in answers}, key=lambda option: (-len(option), option))
        if not 2 <= len(options) <= OPTIONS:
            raise UserError(
                f"task.scorer=choice: the data have {len(options)} different responses, and a choice is between 2 to "
                f"{OPTIONS}; use task.scorer=exact"
            )
        self._options = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, options)) + r")(?!\w)")

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        first = self._options.search(completion.casefold())
        return float(first is not None and first.group() == example.answer.strip().casefold())


SCORER = Choice
