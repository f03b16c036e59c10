"""math: the completion's final expression equals the response's, by Math-Verify."""

from collections.abc import Sequence
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.base import Score
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scoring.latex import boxed_answer, final_answer
from lorabench.tasks.scoring.second_opinion import opinions_on


def final_expression(text: str) -> str:
    r"""What stands behind the last ``The answer is: ``, else in the last ``\boxed{}``, else behind ``####``, else all of it.

    >>> final_expression(r"so it is \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    return (final_answer(text) or boxed_answer(text) or text.rpartition("####")[2]).strip()


class MathVerify(Scorer):
    """1 where Math-Verify finds the two final expressions equal, such as q + p and p + q."""

    together: ClassVar[bool] = True

    def check(self, answers: Sequence[str]) -> None:
        """Math-Verify is there."""
        if opinions_on([("1", "1")]) is None:
            raise UserError("task.scorer=math needs Math-Verify: `make install-eval`")

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        return float(self.score_all([example], [completion])[0]["score"])

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """1 or 0 each, by one helper process."""
        pairs = [(final_expression(e.answer), final_expression(c)) for e, c in zip(examples, completions, strict=True)]
        opinions = opinions_on(pairs)
        assert opinions is not None  # ``check`` has asked
        return [{"score": float(opinion)} for opinion in opinions]


SCORER = MathVerify
