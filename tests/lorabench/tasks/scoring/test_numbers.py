"""Golds that are one number, and answers beside them; where the papers' pattern reads others, docs/papers.md says so."""

import json
from fractions import Fraction

import pytest

from lorabench.tasks.math import gsm8k_solution
from lorabench.tasks.scoring.latex import MARKER
from lorabench.tasks.scoring.numbers import agrees, final_number, gold_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is: 72", 72),
        ("The answer is: 1,234.", 1234),
        ("The answer is: -5", -5),
        ("The answer is: −5", -5),
        ("The answer is: –5", -5),
        ("The answer is: -$5 each", -5),
        ("The answer is: $-5", -5),
        ("The answer is: --5", -5),
        ("The answer is: $3-$5", 3),
        ("The answer is: $18", 18),
        ("The answer is: 7/2", Fraction(7, 2)),
        ("The answer is: 2.6", Fraction(13, 5)),
        ("The answer is: 1. No. The answer is: 2", 2),
        ("The answer is: 3\nMore 9", 3),
        ("The answer is: .5", Fraction(1, 2)),
        ("The answer is: -.5", Fraction(-1, 2)),
        ("The answer is: $.75 each", Fraction(3, 4)),
        ("The answer is: 3/.5", 6),
        ("The answer is: 4/0", None),
        ("The answer is: none", None),
        ("72", None),
        ("the answer is: 72", None),
        ("", None),
    ],
)
def test_final_number(text, number):
    assert final_number(text) == number


def test_a_number_may_have_more_digits_than_int_takes_from_a_text():
    assert final_number(f"The answer is: {'7' * 5000}") == 7 * (10**5000 // 9)
    assert round(final_number(f"The answer is: 2.{'6' * 5000}")) == 3
    assert round(final_number(f"The answer is: 1/{'3' * 5000}")) == 0


@pytest.mark.parametrize(
    ("gold", "number"),
    [
        ("5", 5), ("05", 5), ("-5", -5), ("−5", -5), ("–5", -5), ("-$5", -5), ("$-5", -5), ("€1,000", 1000), ("1,450,000.", 1_450_000),
        ("5%", 5), (".5", Fraction(1, 2)), ("-1,234.50", Fraction(-2469, 2)), ("1/2", Fraction(1, 2)), ("-1/2", Fraction(-1, 2)),
        ("+5", 5), ("+$5", 5), ("$+5", 5), ("+.5", Fraction(1, 2)),
    ],
)  # fmt: skip
def test_a_gold_is_the_number_that_it_says(gold, number):
    assert gold_number(gold) == number


@pytest.mark.parametrize(
    "gold",
    ["", "five", "1e3", "3 1/2", "1 000", "2:30", "12 or 13", "1,2", "1,0000", "12, 13", "--5", "+-5", "-$-5", "5 apples", "5 million", "5k",
     "+", "$", "4/0", "1.2.3", "1/2/3", "5-6", "x=5", "5\n6"],
)  # fmt: skip
def test_what_is_not_one_number_is_no_gold(gold):
    assert gold_number(gold) is None


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("18", ["18", "17.6", "18.0", "36/2"], ["17", "-18", "18.6"]),  # rounded, as in the papers' scorer
        ("0.4", ["0.4", ".4", "2/5", "0.40", "0.41", "0.3999"], ["0.1", "0", "0.46", "-0.4", "0.3499"]),
        ("2.5", ["2.5", "5/2"], ["2", "3", "2.4"]),
        ("2.50", ["2.5", "2.504"], ["2.51", "2.494"]),
        ("66.67", ["66.666666", "200/3", "66.67"], ["66.66", "66.7", "67"]),
        ("0.33", ["1/3", "0.3333"], ["0.3", "0.34"]),
        ("0.13", ["1/8"], ["0.12"]),  # whichever way a half is rounded
        ("0.12", ["1/8"], ["0.13"]),
        ("$1,234.5.", ["1234.52"], ["1234.6", "1234"]),
        ("12.5%", ["12.5", "12.5%", "12.51%"], ["0.125"]),
        ("50%", ["50", "50%"], ["0.5"]),
        ("+5", ["5", "+5"], ["-5"]),
        ("1/3", ["1/3", "0.33333333333"], ["0", "0.3", "0.333"]),
        ("-0.5", ["-0.5", "-1/2"], ["0", "0.5", "-0.6"]),
    ],
)
def test_an_answer_is_rounded_as_its_gold_is(gold, right, wrong):
    verdicts = [agrees(final_number(MARKER + answer), gold) for answer in (*right, *wrong)]
    assert verdicts == [True] * len(right) + [False] * len(wrong)


@pytest.mark.parametrize("number", [1_450_000, 2_880_000])  # the two of GSM8K's 1,319 golds that have two commas
@pytest.mark.parametrize("written", ["{:,}", "{}", "${:,}.", "{:,}.00"])
def test_two_commas_are_read_whole(number, written):
    assert final_number(f"{MARKER}{written.format(number)}") == gold_number(written.format(number)) == number


def test_a_gold_with_two_commas_is_right_however_it_is_answered():
    _, gold = gsm8k_solution("It costs <<2*725000=1450000>>1,450,000.\n#### 1,450,000")
    assert (
        final_number(MARKER + gold) == final_number(f"So.\n{MARKER}1,450,000") == final_number(f"{MARKER}1450000.") == 1_450_000
    )
    assert final_number(f"{MARKER}1450") != 1_450_000


def test_every_gold_of_the_real_gsm8k_is_its_number(shared_data):
    golds = [
        json.loads(line)["answer"].rpartition("#### ")[2].replace(",", "")
        for name in ("train", "test")
        for line in (shared_data / "gsm8k" / f"{name}.jsonl").read_text().splitlines()
    ]
    rows = json.loads((shared_data / "pissa_eval" / "metamath_test.json").read_text())
    golds += [row["output"] for row in rows if row["type"] == "gsm8k"]
    assert len(golds) == 7473 + 2 * 1319
    assert all(gold_number(gold) == int(gold) for gold in golds)
