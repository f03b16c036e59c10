"""Golds and answers of GSM8K with two commas, which the papers' pattern cuts at the second (docs/papers.md)."""

import pytest

from lorabench.tasks.latex import MARKER
from lorabench.tasks.math import final_number, gsm8k_solution


@pytest.mark.parametrize("gold", [1_450_000, 2_880_000])  # the two of GSM8K's 1,319 that have them
@pytest.mark.parametrize("written", ["{:,}", "{}", "${:,}.", "{:,}.00"])
def test_it_is_read_whole(gold, written):
    assert final_number(f"{MARKER}{written.format(gold)}") == gold


def test_a_gold_with_two_commas_is_right_however_it_is_answered():
    _, gold = gsm8k_solution("It costs <<2*725000=1450000>>1,450,000.\n#### 1,450,000")
    assert (
        final_number(MARKER + gold) == final_number(f"So.\n{MARKER}1,450,000") == final_number(f"{MARKER}1450000.") == 1_450_000
    )
    assert final_number(f"{MARKER}1450") != 1_450_000
