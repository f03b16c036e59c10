"""Overlap of words by Google's `rouge-score` (Lin 2004)."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from lorabench.errors import UserError


@cache
def rouge(kind: str) -> Any:
    """A scorer of one kind, ``rouge1`` or ``rougeL``, without stemming.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError("task.scorer=f1 and rouge need rouge-score: `make install-eval`") from error
    return RougeScorer([kind], use_stemmer=False)


def check_words(kind: str, answers: Sequence[str]) -> None:
    """Check that rouge-score is installed and reads words of most answers: it knows the letters a … z and digits alone.

    Raises:
        UserError: it does not.
    """
    rouge(kind)
    mute = [answer for answer in answers if not re.search("[a-z0-9]", answer.lower())]
    if 2 * len(mute) > len(answers):
        raise UserError(
            f"task.scorer=f1 and rouge read the letters a … z and digits alone, and {len(mute)} of {len(answers)} responses "
            f"have none, such as {mute[0][:40]!r}; use task.scorer=exact, contains or judge"
        )


def f_measure(kind: str, answer: str, completion: str) -> float:
    """F1 of precision and recall of the words (or of their longest common sequence, ``rougeL``)."""
    return float(rouge(kind).score(answer, completion)[kind].fmeasure)
