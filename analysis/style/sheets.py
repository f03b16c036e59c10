"""Tables as CSV for spreadsheets, which take some texts for formulas."""

from typing import Any

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t")
"""What the text of a cell must not begin with: a spreadsheet would run it (CSV injection, OWASP)."""


def as_csv(frame: pd.DataFrame, path: Any = None, **options: Any) -> str | None:
    """The frame as CSV, where a text that begins as a formula does gets an apostrophe in front; numbers stay.

    Args:
        frame: of any columns.
        path: where to; None: returned.
        options: of ``DataFrame.to_csv``.
    """
    neutral = frame.rename(columns=_neutral)
    for name in neutral.select_dtypes(exclude="number").columns:
        neutral[name] = neutral[name].map(_neutral)
    written = neutral.to_csv(path, index=False, lineterminator="\n", **options)
    return None if written is None else str(written)


def _neutral(value: Any) -> Any:
    """The text, in front of which an apostrophe stands where it could be a formula; a number as text is none.

    A carriage return, which pandas leaves without quotes, would end the line.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\r")
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
