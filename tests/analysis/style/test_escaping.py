"""What a record names is shown by Markdown as it is: no HTML, code, cell, link or image begins in it."""

import re

import pytest

from analysis.style.rendering import Block, escaped, render

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`x`<b>`",
    "[x](javascript:y)",
    "a\n\n<script>",
    "&lt;b&gt;",
    "```<i>",
    "\\`<u>`",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_field_of_a_record_is_text_wherever_it_stands(text):
    block = Block(
        text, text, [text, "n"], "<>", [[text, "1"]], [text, f"`lorabench run` shows {text}"], [text.replace("\n", " ")]
    )
    shown = render([block], [text], "markdown")
    outside = re.sub(r"^```\n.*?^```$", "", shown, flags=re.M | re.S)
    if "```" not in text:
        assert not re.search(r"<[a-z/]", re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", outside).replace("\\`", ""))
    assert "](" not in outside and not re.search(r"^<", outside, re.M)
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "`lorabench run`" in shown and "`" not in escaped(text)
