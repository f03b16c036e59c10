"""bleu: sequences of tokens that completion and response share."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer

TOKEN = re.compile(r"\w+|[^\w\s]")
LONGEST = 4


class Bleu(Scorer):
    """BLEU of one sentence, BP · (p₁ p₂ p₃ p₄)^¼ (Papineni et al. 2002), for code and translations.

    pₙ is the share of the completion's n-grams that the response has, each as often as there; for n > 1 one is added to both
    counts (Lin and Och 2004, § 4). BP = exp(1 − r / c) where the completion's c tokens are fewer than the response's r, else 1.
    Tokens are words, with capitals, and single other signs; spaces and line ends do not count. A score is the mean over rows,
    and no BLEU of a corpus.
    """

    def score(self, example: Example, completion: str) -> float:
        """In 0 … 1; 1 for the same tokens."""
        return sentence_bleu(TOKEN.findall(completion), TOKEN.findall(example.answer))


def sentence_bleu(tokens: Sequence[str], reference: Sequence[str]) -> float:
    """See ``Bleu``.

    >>> round(sentence_bleu("a b c e".split(), "a b c d".split()), 4)
    0.658
    """
    product = 1.0
    for n in range(1, LONGEST + 1):
        ours, theirs = _ngrams(tokens, n), _ngrams(reference, n)
        shared, total = sum((ours & theirs).values()), ours.total()
        if n == 1 and not shared:
            return 0.0
        product *= (shared + (n > 1)) / (total + (n > 1))
    brevity = min(0.0, 1 - len(reference) / len(tokens))
    return math.exp(brevity) * product ** (1 / LONGEST)


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


SCORER = Bleu
