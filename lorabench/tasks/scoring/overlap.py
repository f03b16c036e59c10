"""Overlap of words by Google's `rouge-score` (Lin 2004)."""

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


def f_measure(kind: str, answer: str, completion: str) -> float:
    """F1 of precision and recall of the words (or of their longest common sequence, ``rougeL``)."""
    return float(rouge(kind).score(answer, completion)[kind].fmeasure)
