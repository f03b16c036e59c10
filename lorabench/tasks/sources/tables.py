"""Rows of a table: CSV, tab-separated text, or Parquet."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

from lorabench.errors import UserError
from lorabench.tasks.sources.base import Row

PARQUET = b"PAR1"
SEPARATORS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
"""What may stand between the fields of a file of this name; the one that its header has most of is meant."""


EXCELS = re.compile(r"sep=(.)")
"""A first line by which Excel knows the separator; it is no header."""


def separated(name: str) -> str | None:
    """The suffix of a file of separated values, gzipped or not; None of another one.

    >>> separated("mine.csv.gz")
    '.csv'
    """
    plain = name.removesuffix(".gz").lower()
    return next((suffix for suffix in SEPARATORS if plain.endswith(suffix)), None)


def read_parquet(raw: bytes, file: str) -> list[Row]:
    """The rows of a Parquet file; a row's place is its index.

    Raises:
        UserError: it is damaged, or has no row.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        values = pyarrow.parquet.read_table(io.BytesIO(raw)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file} is a damaged Parquet file ({' '.join(str(error).split())[:120]}); get it again") from error
    if not values:
        raise UserError(f"{file} has no row")
    return [Row(row, file, f"index {i}") for i, row in enumerate(values)]


def read_separated(text: str, file: str) -> list[Row]:
    """The rows of a table whose first line names its columns (RFC 4180); a row's place is the line on which it begins.

    Every value is a text; an empty field is an empty one. Empty lines are passed over.

    Raises:
        UserError: the header is none, a row has more or fewer fields than it, or quotes are not closed.
    """
    header = text.lstrip("\r\n").partition("\n")[0]
    suffix = separated(file) or ".csv"
    stated = EXCELS.fullmatch(header.strip())
    separator = stated[1] if stated else max(SEPARATORS[suffix], key=header.count)
    records = _records(text, file, separator)
    if stated:
        next(records)
    line, names = next(records, (1, []))
    if not any(name.strip() for name in names):
        raise UserError(f"{file} is empty; its first line must name the columns")
    if blank := [i for i, name in enumerate(names, 1) if not name.strip()]:
        raise UserError(f"{file}, line {line}: column {blank[0]} has no name; the first line must name all columns")
    names = [name.strip() for name in names]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{file}, line {line}: two columns are called {twice[0]}; rename one")
    rows = []
    for line, fields in records:
        if len(fields) != len(names):
            quotes = f"quote a field that holds {separator!r}, quotes or line ends"
            wanted = quotes if len(fields) > len(names) else f"write an empty field as nothing between two {separator!r}"
            raise UserError(
                f"{file}, line {line}: {len(fields)} field{'s' * (len(fields) != 1)} where the first line names {len(names)} "
                f"columns; {wanted}"
            )
        rows.append(Row(dict(zip(names, fields, strict=True)), file, f"line {line}"))
    if not rows:
        raise UserError(f"{file} has a line of column names and no row")
    return rows


def _records(text: str, file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record that has some, and the line on which it begins."""
    csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{file}, line {line}: {error}; check the quotes from there on") from error
        if fields:
            yield line, fields
        line = reader.line_num + 1
