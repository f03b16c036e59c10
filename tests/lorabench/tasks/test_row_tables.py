"""CSV, tab-separated text and Parquet: the rows, their places, and one line for what is wrong."""

import gzip

import pyarrow
import pyarrow.parquet
import pytest

from lorabench.errors import UserError
from lorabench.tasks.sources.local import LocalSource


def rows_of(folder, name, content):
    file = folder / name
    raw = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return LocalSource(str(file), ()).load("task.train")


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz"])
def test_csv_has_texts_by_column_and_the_line_of_each_row(name, tmp_path):
    rows = rows_of(tmp_path, name, '\ufeffq,a\r\n"one, ""two""\nlines",1\r\n\r\nthree,\r\n')
    assert rows == [{"q": 'one, "two"\nlines', "a": "1"}, {"q": "three", "a": ""}]
    assert [row.number for row in rows] == ["line 2", "line 5"]


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "q;a\n1,5;2\n"), ("a.tsv", "q\ta\n1,5\t2\n"), ("a.csv", "q\ta\n1,5\t2\n")]
)
def test_the_separator_is_that_of_the_header(name, text, tmp_path):
    assert rows_of(tmp_path, name, text) == [{"q": "1,5", "a": "2"}]


def test_long_fields_are_read(tmp_path):
    assert rows_of(tmp_path, "a.csv", f"q,a\n{'x' * 200_000},1\n")[0]["q"] == "x" * 200_000


@pytest.mark.parametrize("name", ["a.parquet", "a.bin", "a.parquet.gz"])
def test_parquet_is_told_by_its_content(name, tmp_path):
    table = pyarrow.table({"q": ["one", None], "choices": [["a", "b"], []]})
    pyarrow.parquet.write_table(table, tmp_path / "plain")
    rows = rows_of(tmp_path, name, (tmp_path / "plain").read_bytes())
    assert rows == [{"q": "one", "choices": ["a", "b"]}, {"q": None, "choices": []}]
    assert rows[1].number == "index 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a.csv is empty; its first line must name the columns"),
        ("q,a\n", "has a line of column names and no row"),
        ("q,\n1,2\n", "line 1: column 2 has no name"),
        ("q,q\n1,2\n", "line 1: two columns are called q; rename one"),
        ("q,a\n1,2\n3,4,5\n", "line 3: 3 fields where the first line names 2 columns; quote a field"),
        ("q,a\n1,2\n3\n", "line 3: 1 field where the first line names 2 columns; write an empty field as nothing"),
        ('q,a\n1,2\n"3,4\n5,6\n', "line 3: unexpected end of data; check the quotes from there on"),
        ('q,a\n"1"2,3\n', "line 2: .* expected after"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(text, words, tmp_path):
    with pytest.raises(UserError, match=words):
        rows_of(tmp_path, "a.csv", text)


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"is a damaged Parquet file \(.*\); get it again"):
        rows_of(tmp_path, "a.parquet", b"PAR1" + b"\0" * 40)
