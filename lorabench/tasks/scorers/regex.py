"""regex=PATTERN: what a pattern finds last in the completion is what it finds last in the response."""

import re
from collections.abc import Sequence
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class Regex(Scorer):
    """1 where the last match in the completion (its first group, if the pattern has one) is the last one in the response."""

    argument: ClassVar[str | None] = "PATTERN"

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"task.scorer=regex={pattern} is no regular expression ({error})") from error

    def check(self, answers: Sequence[str]) -> None:
        """The pattern is found in one of the responses at least."""
        if all(self._last(answer) is None for answer in answers):
            raise UserError(
                f"task.scorer=regex={self._pattern.pattern} is found in none of the responses, such as {answers[0][:80]!r}"
            )

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        last = self._last(completion)
        return float(last is not None and last == self._last(example.answer))

    def _last(self, text: str) -> str | None:
        matches = list(self._pattern.finditer(text))
        return (matches[-1].group(1 if self._pattern.groups else 0) or "") if matches else None


SCORER = Regex
