"""contains: the response stands somewhere in the completion."""

import re

from lorabench.tasks.example import Example, words
from lorabench.tasks.scorers.base import Scorer


class Contains(Scorer):
    """1 where the response is in the completion as whole words; capitals and the kind of spaces do not matter."""

    def score(self, example: Example, completion: str) -> float:
        """1 or 0."""
        sought = re.escape(words(example.answer.casefold()))
        return float(re.search(rf"(?<!\w){sought}(?!\w)", words(completion.casefold())) is not None)


SCORER = Contains
