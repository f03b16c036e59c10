"""CSV that a spreadsheet does not run."""

import io

import pandas as pd
import pytest

from analysis.style.sheets import as_csv

HOSTILE = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']


def test_a_formula_becomes_a_text_in_cells_and_in_headers():
    frame = pd.DataFrame({"name": HOSTILE, "=evil": range(len(HOSTILE))})
    read = pd.read_csv(io.StringIO(as_csv(frame)), keep_default_na=False)
    written = [f"'{text}" if "\r" not in text else "\\r=1" for text in HOSTILE]
    assert list(read["name"]) == written
    assert list(read.columns) == ["name", "'=evil"]


def test_numbers_and_other_texts_stay():
    frame = pd.DataFrame({"x": [-1.5, 2.0], "text": ["-0.5", "lora alpha=8"], "nothing": [None, "a"]})
    assert as_csv(frame) == "x,text,nothing\n-1.5,-0.5,\n2.0,lora alpha=8,a\n"


@pytest.mark.parametrize("category", [False, True])
def test_other_kinds_of_columns_too(category, tmp_path):
    frame = pd.DataFrame({"name": pd.Series(["=1", "b"], dtype="category" if category else "string")})
    assert as_csv(frame, tmp_path / "a.csv") is None
    assert (tmp_path / "a.csv").read_text() == "name\n'=1\nb\n"
