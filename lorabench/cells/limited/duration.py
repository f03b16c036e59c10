"""A length of time as a user writes it."""

import re

from lorabench.errors import UserError

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str | None) -> float | None:
    """Seconds of ``cell_timeout``; None for no limit.

    >>> seconds("90m"), seconds("1.5h"), seconds("30"), seconds(None)
    (5400.0, 5400.0, 30.0, None)

    Raises:
        UserError: it is none, or not above 0.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text)
    if match is None or not float(match.group(1)):
        raise UserError(f"cell_timeout={text} must be seconds above 0, or such as 90m, 12h, 2d")
    return float(match.group(1)) * UNITS[match.group(2)]
