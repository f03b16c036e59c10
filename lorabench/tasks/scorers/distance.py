"""distance=RANGE: how near the completion's final number is to the response's."""

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scorers.number import final_text
from lorabench.tasks.scoring.numbers import first_number, gold_number


class Distance(Scorer):
    """max(0, 1 − |answer − gold| / RANGE) of the final numbers (see ``scorers.number``); 0 for a completion without one.

    RANGE is that of the responses, such as 5 of similarities in 0 … 5: the mean is 1 − the mean absolute error in shares of it.
    """

    argument: ClassVar[str | None] = "RANGE"

    def __init__(self, width: str) -> None:
        number = gold_number(width)
        if number is None or number <= 0:
            raise UserError(f"task.scorer=distance={width}: the range of the responses must be a number above 0, such as 5")
        self._width = number

    def check(self, answers: Sequence[str]) -> None:
        """Each response has a number."""
        without = [answer for answer in answers if _number(answer) is None]
        if without:
            raise UserError(f"task.scorer=distance needs numbers, and the response {without[0][:80]!r} has none")

    def score(self, example: Example, completion: str) -> float:
        """In 0 … 1."""
        answer, gold = _number(completion), _number(example.answer)
        if answer is None or gold is None:
            return 0.0
        return float(max(Fraction(0), 1 - abs(answer - gold) / self._width))


def _number(text: str) -> Fraction | None:
    final = final_text(text)
    return None if final is None else first_number(final)


SCORER = Distance
