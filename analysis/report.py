"""A folder of records → the HTML report, with what lies beside the cells: Hessian records and journals of searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.blocks import blocks_of
from analysis.html.data import tree
from analysis.html.page import check, write
from analysis.journals import load_searches
from analysis.load import load_records

if TYPE_CHECKING:
    from pathlib import Path


def report(runs: Path, out: Path, hessian: Path | None = None, published: Path | None = None) -> int:
    """Write the report and return its size in bytes.

    Args:
        runs: output_dir of a sweep; journals in its folder `search` belong to the report.
        out: the page, `.html`.
        hessian: output_dir of `python -m hessian`; None: `runs/hessian`, if there is one with records.
        published: a folder of published cells to show beside the own ones; None: none.

    Raises:
        AnalysisError: nothing to read, or the page cannot be written.
    """
    check(out)  # before minutes of work
    frame = load_records(runs)
    blocks, unread = blocks_of(runs, hessian)
    found = tree(
        frame,
        published=load_records(published) if published else None,
        blocks=blocks,
        unread=unread,
        searches=load_searches(runs / "search"),
    )
    return write(found, out)
