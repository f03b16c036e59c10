"""How numbers are written and read: each way once."""

import math
from numbers import Real
from typing import Any

EXACT = ".15g"
"""Of a value that is computed and goes into an override: 0.3 for 0.1 · 3, whose last bit is rounding."""

VALUE = ".6g"
"""Of a hyperparameter that is read or told."""

SCORE = ".4g"
"""Of a score that a progress line shows."""

ROUGH = ".3g"
"""Of what is known to no more: regrets, and the values of relations."""


def parse_number(text: str) -> float | None:
    """The finite number that a text stands for, or None.

    >>> parse_number("1e-4"), parse_number("lora"), parse_number("nan")
    (0.0001, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of NumPy's too; NaN is one, True is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value is a number other than NaN and the infinities."""
    return is_number(value) and math.isfinite(value)
