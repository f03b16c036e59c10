"""task.scorer=bleu: golds computed by hand from the counts of n-grams."""

import math
from fractions import Fraction as F

import pytest

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers import scorer_of


def bleu(completion, response):
    return scorer_of("bleu", {}).score(Example("x", "q", answer=response), completion)


def mean(*precisions):
    return math.prod(map(float, precisions)) ** 0.25


@pytest.mark.parametrize(
    ("completion", "response", "score"),
    [
        # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, 0 of 1; all but the first with one more of both
        ("a b c e", "a b c d", mean(F(3, 4), F(3, 4), F(2, 3), F(1, 2))),
        # each counts as often as in the response: 2 of 4 words, 1 of 3 pairs, 0 of 2, 0 of 1
        ("the the the the", "the the cat sat", mean(F(2, 4), F(2, 4), F(1, 3), F(1, 2))),
        # shorter by 2 of 6: all that is there is right
        ("a b c d", "a b c d e f", math.exp(1 - 6 / 4)),
        # longer: 4 of 6, 3 of 5, 2 of 4, 1 of 3, and nothing off for the length
        ("a b c d e f", "a b c d", mean(F(4, 6), F(4, 6), F(3, 5), F(2, 4))),
        ("d c b a", "a b c d", mean(1, F(1, 4), F(1, 3), F(1, 2))),
        ("a", "a", 1),
        ("a b", "a b", 1),
        ("f(x)[0]", "f ( x )\n [ 0 ]", 1),
        ("A b", "a b", mean(F(1, 2), F(1, 2), 1, 1)),
        ("x y", "a b", 0),
        ("", "a b", 0),
        (" \n", "a b", 0),
        ("größe Ω", "größe Ω", 1),
    ],
)
def test_golden_cases(completion, response, score):
    assert bleu(completion, response) == pytest.approx(score, abs=1e-12)


def test_long_answers_are_scored():
    text = " ".join(str(i) for i in range(20_000))
    assert bleu(text, text) == 1
    assert 0 < bleu(text, "0 1 2 3") < 1e-3


def test_it_takes_no_argument():
    with pytest.raises(UserError, match="bleu takes nothing behind it"):
        scorer_of("bleu=4", {})
