"""number: the completion's final number is the response's."""

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scoring.latex import MARKER, boxed_answer
from lorabench.tasks.scoring.numbers import GOLD, NUMBER, agrees, first_number

MARKS = (MARKER.strip(), "####")


def final_text(text: str) -> str | None:
    r"""The text of a final number: the first one behind the last mark, else in the last ``\boxed{}``, else the last one of all.

    >>> final_text("3 + 4 = 7, so\n#### 7 apples"), final_text("first 2, then 1,250.5.")
    ('7', '1,250.5')
    """
    marked = [text.rpartition(mark)[2] for mark in MARKS if mark in text]
    behind = min(marked, key=len) if marked else boxed_answer(text)
    numbers = [match.group().rstrip(",") for match in NUMBER.finditer(behind if behind is not None else text)]
    return (numbers[0] if behind is not None else numbers[-1]) if numbers else None


class FinalNumber(Scorer):
    """1 where the final numbers of completion and response agree (``scoring.numbers.agrees``: at the response's decimals)."""

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        answer, gold = final_text(completion), _gold(example.answer)
        return float(answer is not None and gold is not None and agrees(first_number(answer), gold))


def _gold(response: str) -> str | None:
    """The response's final number as ``agrees`` takes it."""
    text = final_text(response)
    return text if text is not None and GOLD.fullmatch(text) else None


SCORER = FinalNumber
