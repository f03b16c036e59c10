"""rouge: overlap of the completion's words with the response's."""

from collections.abc import Sequence

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scoring.overlap import check_words, f_measure


class Rouge(Scorer):
    """F-measure of the longest common sequence of words (rougeL of rouge-score: letters and digits, in lower case)."""

    def check(self, answers: Sequence[str]) -> None:
        """The package is there, and the responses have words that it reads."""
        check_words("rougeL", answers)

    def score(self, example: Example, completion: str) -> float:
        """In 0 … 1."""
        return f_measure("rougeL", example.answer, completion)


SCORER = Rouge
