"""Tables of sharpness as aligned plain text or Markdown."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 110


class Block(NamedTuple):
    """One setting: two lines of title, a table, remarks, and lines to be copied as they are.

    `align` has a "<" or ">" for each column of `header`. Where the first column holds the same word in several rows, they
    are a group.
    """

    title: str
    subtitle: str
    header: Sequence[str]
    align: str
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str]
    copied: Sequence[str] = ()


def render(blocks: Sequence[Block], notes: Sequence[str], style: str) -> str:
    """The blocks, and below them the notes that hold for all; `style` is "text" or "markdown"."""
    marked = style == "markdown"
    parts = []
    for block in blocks:
        head = [f"### {block.title}", "", block.subtitle] if marked else [block.title, block.subtitle]
        body = _markdown(block) if marked else _text(block)
        remarks = _listed(block.remarks, marked)
        copied = ["```", *block.copied, "```"] if marked and block.copied else block.copied
        parts.append("\n".join([*head, "", *body, *(line for lines in (remarks, copied) if lines for line in ("", *lines))]))
    return "\n\n\n".join([*parts, "\n".join(_listed(notes, marked))]) + "\n"


def number(value: float) -> str:
    """Three significant digits, `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _listed(lines: Sequence[str], marked: bool) -> list[str]:
    return [f"- {line}" if marked else textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]


def _markdown(block: Block) -> list[str]:
    rule = ["--:" if side == ">" else ":--" for side in block.align]
    rows = [block.header, rule, *block.rows]
    return ["| " + " | ".join(cell.strip().replace("|", "\\|") for cell in row) + " |" for row in rows]


def _text(block: Block) -> list[str]:
    """A rule below the header and between groups, whose word is written once."""
    widths = [max(map(len, column)) for column in zip(block.header, *block.rows, strict=True)]
    rule, words = ["-" * width for width in widths], [row[0] for row in block.rows]
    grouped = len(set(words)) < len(words)
    lines = [list(block.header), rule]
    for index, row in enumerate(block.rows):
        first = index == 0 or row[0] != words[index - 1]
        if grouped and first and index:
            lines.append(rule)
        lines.append([row[0] if first else "", *row[1:]])
    return ["  ".join(f"{t:{a}{w}}" for t, a, w in zip(line, block.align, widths, strict=True)).rstrip() for line in lines]
