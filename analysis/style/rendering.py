"""Tables as aligned plain text, Markdown or LaTeX."""

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 110
STYLES = ("text", "markdown", "latex")


class Best(str):
    """A cell that stands out: `49.36*` in text, bold elsewhere."""

    __slots__ = ()


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
    """The blocks, and below them the notes that hold for all; `style` is one of `STYLES`."""
    if style == "latex":
        return "\n\n".join([*map(_latex, blocks), *(f"% {note}" for note in notes)]) + "\n"
    marked = style == "markdown"
    parts = []
    for block in blocks:
        head = [f"### {escaped(block.title)}", "", escaped(block.subtitle)] if marked else [block.title, block.subtitle]
        body = _markdown(block) if marked else _text(block)
        remarks = _list_lines(block.remarks, marked)
        fenced = ["```", *(line.replace("```", "` ` `") for line in block.copied), "```"]
        copied = fenced if marked and block.copied else block.copied
        parts.append("\n".join([*head, "", *body, *(line for lines in (remarks, copied) if lines for line in ("", *lines))]))
    return "\n\n\n".join([*parts, "\n".join(_list_lines(notes, marked))]) + "\n"


def _list_lines(lines: Sequence[str], marked: bool) -> list[str]:
    return [f"- {_sentence(line)}" if marked else textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line: no HTML, code, table cell, link or image begins or ends in it."""
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("`", "&#96;"), ("|", "\\|"), ("](", "]&#40;")):
        text = text.replace(sign, shown)
    return " ".join(text.splitlines())


def _sentence(line: str) -> str:
    """A remark, whose commands stand in backticks and are code."""
    return "".join(part if i % 2 else escaped(part) for i, part in enumerate(re.split(r"((?<![`\\])`[^`\n]+`(?!`))", line)))


def _markdown(block: Block) -> list[str]:
    rule = ["--:" if side == ">" else ":--" for side in block.align]

    def write(cell: str) -> str:
        text = escaped(cell.strip())
        return f"**{text}**" if isinstance(cell, Best) else text

    rows = [block.header, rule, *block.rows]
    return ["| " + " | ".join(map(write, row)) + " |" for row in rows]


def _text(block: Block) -> list[str]:
    """A rule below the header and between groups, whose word is written once."""
    starred = [any(isinstance(cell, Best) for cell in column) for column in zip(*block.rows, strict=True)]
    # Where some cells carry a star, a blank on the others keeps the digits of a column below each other.
    body = [
        [cell + ("*" if isinstance(cell, Best) else " " if star else "") for cell, star in zip(row, starred, strict=True)]
        for row in block.rows
    ]
    widths = [max(map(len, column)) for column in zip(block.header, *body, strict=True)]
    rule, words = ["-" * width for width in widths], [row[0] for row in body]
    grouped = len(set(words)) < len(words)
    lines = [list(block.header), rule]
    for index, row in enumerate(body):
        first = index == 0 or row[0] != words[index - 1]
        if grouped and first and index:
            lines.append(rule)
        lines.append([row[0] if first else "", *row[1:]])
    return ["  ".join(f"{t:{a}{w}}" for t, a, w in zip(line, block.align, widths, strict=True)).rstrip() for line in lines]


def _latex(block: Block) -> str:
    """A table for the package booktabs."""
    columns = "".join("r" if side == ">" else "l" for side in block.align)
    lines, words = [], [row[0] for row in block.rows]
    grouped = len(set(words)) < len(words)
    for index, row in enumerate(block.rows):
        if grouped and index and row[0] != words[index - 1]:
            lines.append("\\midrule")
        lines.append(" & ".join(map(_tex_cell, row)) + " \\\\")
    caption = " ".join([f"{block.title}: {block.subtitle}.", *block.remarks])
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{tex(caption)}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            " & ".join(map(tex, block.header)) + " \\\\",
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def _tex_cell(cell: str) -> str:
    text = tex(cell.strip())
    return f"\\textbf{{{text}}}" if isinstance(cell, Best) else text


_TEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "·": "$\\cdot$",
    "–": "--", "λ": "$\\lambda$", "≥": "$\\geq$", "≤": "$\\leq$", "−": "$-$", "∞": "$\\infty$", "†": "$\\dagger$",
    "×": "$\\times$", "↓": "$\\downarrow$",
    "√": "$\\surd$", "∝": "$\\propto$", "²": "$^2$", "α": "$\\alpha$", "<": "$<$", ">": "$>$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip
_TEX_SIGNS = re.compile("|".join(map(re.escape, _TEX)))


def tex(text: str) -> str:
    """Text with what LaTeX takes for commands written out."""
    return _TEX_SIGNS.sub(lambda sign: _TEX[sign[0]], text)
