"""loss: the probability that the model gives the responses; nothing is generated."""

from typing import ClassVar

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class Loss(Scorer):
    """exp(−L), L the mean loss over the responses' tokens: the geometric mean of their probabilities."""

    generates: ClassVar[bool] = False
    proves: ClassVar[bool] = False

    def score(self, example: Example, completion: str) -> float:
        """Not asked: there are no completions."""
        raise NotImplementedError


SCORER = Loss
