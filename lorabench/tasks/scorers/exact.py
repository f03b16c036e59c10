"""exact: the completion is the response, but for spaces around it."""

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class Exact(Scorer):
    """1 where completion and response are the same characters, spaces and line ends around them left out."""

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        return float(completion.strip() == example.answer.strip())


SCORER = Exact
