"""regex=PATTERN: what a pattern finds last in the completion is what it finds last in the response."""

from collections.abc import Sequence
from typing import ClassVar

import regex

from lorabench.errors import UserError
from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.terminal.bars import note

SECONDS = 1.0
"""For one text; a pattern such as ``(a|aa)+$`` may try for ever."""


class Regex(Scorer):
    """1 where the last match in the completion (its first group, if the pattern has one) is the last one in the response.

    By the package ``regex``, which reads Python's patterns and, unlike ``re``, keeps a limit of time.
    """

    argument: ClassVar[str | None] = "PATTERN"

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = regex.compile(pattern)
        except (regex.error, RecursionError, OverflowError) as error:
            raise UserError(f"task.scorer=regex={pattern[:80]} is no regular expression ({error})") from error

    def check(self, answers: Sequence[str]) -> None:
        """The pattern is found in one of the responses at least, and none takes it too long."""
        stated, matched = f"task.scorer=regex={self._pattern.pattern}", False
        for answer in answers:
            try:
                matched = self._last(answer) is not None or matched
            except TimeoutError:
                raise UserError(
                    f"{stated} takes longer than {SECONDS:g} s on the response {answer[:40]!r}; write it without a repetition "
                    "inside another one"
                ) from None
        if not matched:
            raise UserError(f"{stated} is found in none of the responses, such as {answers[0][:80]!r}")

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        return float(self.score_all([example], [completion])[0]["score"])

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """1 or 0 each; where the pattern takes too long it is 0, and counted in a line."""
        scores, late = [], []
        for example, completion in zip(examples, completions, strict=True):
            try:
                last = self._last(completion)
            except TimeoutError:
                last = None
                late.append(example.id)
            scores.append({"score": float(last is not None and last == self._last(example.answer))})
        if late:
            note(
                f"task.scorer=regex={self._pattern.pattern}: {len(late)} of {len(completions)} completions took it longer than "
                f"{SECONDS:g} s, such as that of {late[0]}, and count as wrong"
            )
        return scores

    def _last(self, text: str) -> str | None:
        last = None
        for match in self._pattern.finditer(text, timeout=SECONDS):
            last = match
        return None if last is None else str(last.group(1 if self._pattern.groups else 0) or "")


SCORER = Regex
