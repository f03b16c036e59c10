"""Rows of a file, plain or gzipped: JSON (an array or one object a line) or Parquet by its content, CSV by its name."""

import gzip
import json
import re
import zlib
from typing import Any

from lorabench.errors import UserError
from lorabench.tasks.sources.base import Row
from lorabench.tasks.sources.tables import PARQUET, read_parquet, read_separated, separated

GZIP = b"\x1f\x8b"
LINE_END = re.compile(r"\r\n|\n|\r")  # no other: JSON's texts may hold U+2028 and its like as they are
BLANK = " \t\ufeff"  # a byte order mark may stand at the head of each file of several that were joined
FOREIGN = {"version https://git-lfs": "a Git LFS pointer in the place of the file; get the file with `git lfs pull`"}
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Heads of zip archives, as which Excel and LibreOffice save, and of Excel's old files."""

ONE_OBJECT = "holds one object; it must hold a list of objects or one object a line"
SHOWN = 60  # characters of what stood there


def read_rows(raw: bytes, file: str) -> list[Row]:
    """Return the rows of a file; of JSON lines blank ones are passed over.

    Args:
        raw: its bytes.
        file: its name, for errors and for the rows' places.

    Raises:
        UserError: it is no UTF-8, no JSON, damaged, empty, or holds something else than objects; the line names file and row.
    """
    raw = _decompressed(raw, file)
    if raw.startswith(PARQUET):
        return read_parquet(raw, file)
    if raw.startswith(SPREADSHEETS):
        raise UserError(f"{file} is a spreadsheet or an archive; save its table as CSV")
    text = _text(raw, file)
    start = text.lstrip(BLANK + "\r\n")
    for mark, what in FOREIGN.items():
        if start.startswith(mark):
            raise UserError(f"{file} is {what}")
    if separated(file):
        return read_separated(text, file)
    if not start:
        raise UserError(f"{file} is empty; it must hold a list of objects or one object a line")
    rows = _array(start, file, line=1 + _lines_in(text[: len(text) - len(start)])) if start[0] == "[" else _lines(text, file)
    if not rows:
        raise UserError(f"{file} holds an empty list; it must hold an object for each example")
    return rows


def _decompressed(raw: bytes, file: str) -> bytes:
    try:
        return gzip.decompress(raw) if raw[:2] == GZIP else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} is a damaged or incomplete gzip file ({error}); get it again") from error


def _text(raw: bytes, file: str) -> str:
    """UTF-8 with or without a byte order mark."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{file} is UTF-16; save it as UTF-8") from error
        before = raw[: error.start].decode("utf-8-sig")
        raise UserError(
            f"{file}, line {1 + _lines_in(before)}: the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _lines_in(text: str) -> int:
    return sum(1 for _ in LINE_END.finditer(text))


def _array(text: str, file: str, line: int) -> list[Row]:
    """The rows of one array, which begins on a line; a row's place is its index."""
    try:
        content = _parse(text.rstrip(BLANK + "\r\n"))
    except json.JSONDecodeError as error:
        place = f"line {line + _lines_in(text[: error.pos])}"
        raise UserError(f"{file}, {place}, is not valid JSON ({_reason(error)}); mend or replace it") from error
    except ValueError as error:
        raise UserError(f"{file} {error}") from error
    return [_row(value, file, f"index {i}") for i, value in enumerate(content)]


def _lines(text: str, file: str) -> list[Row]:
    """The rows of JSON lines; a row's place is its line, blank ones counted."""
    rows: list[Row] = []
    for number, line in enumerate(LINE_END.split(text), 1):
        if not (line := line.strip(BLANK)):
            continue
        try:
            value = _parse(line)
        except json.JSONDecodeError as error:
            if not rows and _is_object(text):
                raise UserError(f"{file} {ONE_OBJECT}") from error
            raise UserError(
                f"{file}, line {number}, is not valid JSON ({_reason(error)}); mend the line or take it out"
            ) from error
        except ValueError as error:
            raise UserError(f"{file}, line {number}, {error}") from error
        rows.append(_row(value, file, f"line {number}"))
    if len(rows) == 1 and file.removesuffix(".gz").endswith(".json"):  # a table with rows inside, more likely than one row
        raise UserError(f"{file} {ONE_OBJECT}")
    return rows


def _parse(text: str) -> Any:
    """JSON's value; ValueError where Python cannot hold it."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except RecursionError:
        raise ValueError("holds lists or objects nested too deep to be read; mend or take it out") from None


def _whole(digits: str) -> int:
    """A whole number; int refuses texts of more than 4,300 digits."""
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"has a number of {len(digits.lstrip('-'))} digits; write it as a text, in quotes") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; with a key twice it does not say which value counts."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has an object with the key {twice!r} twice; leave one of them")
    return values


def _is_object(text: str) -> bool:
    try:
        return isinstance(_parse(text.strip(BLANK + "\r\n")), dict)
    except ValueError:
        return False


def _row(value: Any, file: str, number: str) -> Row:
    if not isinstance(value, dict):
        kinds = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}
        what = kinds.get(type(value), "a number")
        raise UserError(
            f"{file}, {number}, holds {what} ({json.dumps(value)[:SHOWN]}); it must hold an object for each example"
        )
    return Row(value, file, number)


def _reason(error: json.JSONDecodeError) -> str:
    """The parser's word, the column, and what stands there."""
    before = max(error.doc.rfind("\n", 0, error.pos), error.doc.rfind("\r", 0, error.pos))
    column = error.pos - before
    if error.doc[error.pos : error.pos + 1] == "\0":
        return f"NUL bytes at column {column}"
    rest = LINE_END.split(error.doc[error.pos : error.pos + SHOWN])[0]
    return f"{error.msg} at column {column}: {rest!r}" if rest else f"{error.msg} at column {column}, the line's end"
