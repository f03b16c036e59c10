"""Numbers in text: golds, which are one number and nothing else, and the answers that models give."""

import re
from decimal import Decimal
from fractions import Fraction

from lorabench.tasks.scoring.latex import MARKER

SIGN = "[-−–]"  # hyphen, minus, and the dash that is typed in its place
CURRENCY = "[$€£]"
UNSIGNED = r"(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
NUMBER = re.compile(f"({SIGN}?)(?:{CURRENCY}({SIGN}?))?({UNSIGNED})(?:/({UNSIGNED}))?")
GROUPED = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
WHOLE = rf"(?:{GROUPED}(?:\.\d+)?|\.\d+)"
GOLD_SIGN = "[-−–+]"
GOLD = re.compile(rf"(?:{GOLD_SIGN}{CURRENCY}?|{CURRENCY}{GOLD_SIGN}?)?{WHOLE}(?:/{WHOLE})?%?\.?")
DECIMALS = re.compile(r"\.(\d+)%?\.?")
PRECISION = 10**9


def first_number(text: str) -> Fraction | None:
    """The first number of a text, commas removed, a fraction evaluated; None without, and of a division by zero.

    >>> first_number("about $1,234.50 or so")
    Fraction(2469, 2)
    """
    number = NUMBER.search(text)
    if not number:
        return None
    before, behind, numerator, denominator = number.groups()
    # Through Decimal: Fraction and int refuse texts of more than 4,300 digits, which a model may well repeat.
    above, below = (Fraction(Decimal((digits or "1").replace(",", ""))) for digits in (numerator, denominator))
    if not below:
        return None
    return -above / below if before or behind else above / below


def final_number(text: str) -> Fraction | None:
    """The first number after the last ``The answer is: ``; else None.

    A division by zero is no number here; PiSSA's code takes the numerator. Its pattern has one comma or point at most, and a
    hyphen right before the digits alone for a sign: it reads 1,450,000 as 1450, 12,345.50 as 12345, 1,000/3 as 1000, -$5 as 5.
    """
    _, marker, tail = text.rpartition(MARKER)
    return first_number(tail) if marker else None


def gold_number(gold: str) -> Fraction | None:
    """The number that a gold answer is; None where it is not exactly one, such as ``12 or 13``, ``3 1/2``, ``1e3`` or ``2:30``.

    >>> gold_number("-$1,234."), gold_number("2:30")
    (Fraction(-1234, 1), None)
    """
    return first_number(gold) if GOLD.fullmatch(gold) else None


def agrees(answer: Fraction | None, gold: str) -> bool:
    """Whether an answer is the gold, a text.

    Of a whole gold, the rounded answer, as in PiSSA's code. Of one with d decimals, |answer − gold| ≤ 10⁻ᵈ / 2: the answer
    rounds to it. Of a fraction, |answer − gold| ≤ 1e-9 · |gold|. A gold that is no number has no right answer.
    """
    number = gold_number(gold)
    if answer is None or number is None:
        return False
    if number.denominator == 1:
        return round(answer) == number
    distance, decimals = abs(answer - number), DECIMALS.search(gold)
    if "/" in gold or decimals is None:
        return PRECISION * distance <= abs(number)
    return 2 * distance * 10 ** len(decimals[1]) <= 1
