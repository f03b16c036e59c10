"""Template, styles, scripts and data → one HTML file that loads nothing."""

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError

ASSETS = Path(__file__).parent / "assets"
STYLES = ("page.css", "sections.css", "print.css")
SCRIPTS = (
    "core.js", "format.js", "marks.js", "axes.js", "table.js", "curves.js", "points.js", "ranges.js", "peaks.js", "filter.js",
    "cells.js", "cell.js", "cell_parts.js", "sharpness.js", "search.js", "rules.js", "answers.js", "header.js", "main.js",
)  # fmt: skip
"""In the order in which they use each other; together they are one function, so that no name is global."""


def page(data: Mapping[str, Any]) -> str:
    """The page.

    Text of the records reaches it as JSON in a script element of another type, with `<` written as an escape, and from there as
    text nodes. A policy in its head lets no script run but ours, by its hash, and loads nothing from anywhere.
    """
    style = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)
    body = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{body}\n}})();'
    allowed = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    parts = {"policy": f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"}
    parts |= {"title": html.escape(str(data["title"])), "style": style, "data": encode(data), "script": script}
    # One pass over the template: what is put in is not searched again.
    template = (ASSETS / "page.html").read_text(encoding="utf-8")
    pieces = template.split("{{")
    filled = [parts[name] + rest for name, rest in (piece.split("}}", 1) for piece in pieces[1:])]
    return pieces[0] + "".join(filled)


def encode(data: Any) -> str:
    """JSON for a script element: NaN is null, infinity the word, and no `<`, which could end the element."""
    text = json.dumps(_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def check(path: Path) -> None:
    """Whether a page can be written there.

    Raises:
        AnalysisError: another suffix than .html, or no such folder.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise AnalysisError(f"cannot write the report to {path}: its name must end in .html")
    if not path.parent.is_dir():
        raise AnalysisError(f"cannot write {path} (there is no folder {path.parent}): choose another place with --out")


def write(data: Mapping[str, Any], path: Path) -> int:
    """Write the page and return its size in bytes.

    Raises:
        AnalysisError: the file cannot be written.
    """
    # A lone surrogate, which a tokenizer may leave in a completion, has no UTF-8; as an escape JSON takes it.
    content = page(data).encode("utf-8", "backslashreplace")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise AnalysisError(f"cannot write {path} ({error.strerror or error}): choose another place with --out") from None
    return len(content)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _plain(value: Any) -> Any:
    """Values that JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a scalar of numpy
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return ("inf" if value > 0 else "-inf") if math.isinf(value) else float(f"{value:.7g}")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return None if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    return value is pd.NA or value is pd.NaT
