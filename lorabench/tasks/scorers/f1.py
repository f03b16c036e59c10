"""f1: overlap of the completion's words with the response's."""

from collections.abc import Sequence

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scoring.overlap import check_words, f_measure


class F1(Scorer):
    """F-measure of words (rouge1 of rouge-score: letters and digits, in lower case)."""

    def check(self, answers: Sequence[str]) -> None:
        """The package is there, and the responses have words that it reads."""
        check_words("rouge1", answers)

    def score(self, example: Example, completion: str) -> float:
        """In 0 … 1."""
        return f_measure("rouge1", example.answer, completion)


SCORER = F1
