"""A folder of records → the HTML report, with what lies beside the cells: Hessian records and journals of searches."""

import logging
from pathlib import Path

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.blocks import blocks_of
from analysis.read.journals import load_searches
from analysis.read.load import load_records, of_same_tasks
from analysis.read.metrics import TEST, VALIDATION
from analysis.report.data import tree
from analysis.report.page import check, write
from analysis.stats import MARGIN

log = logging.getLogger(__name__)


def report(
    runs: Path,
    out: Path,
    hessian: Path | None = None,
    published: Path | None = None,
    margin: float = MARGIN,
    metric: str = TEST,
    select_by: str = VALIDATION,
) -> int:
    """Write the report and return its size in bytes.

    Args:
        runs: output_dir of a sweep; journals in its folder `search` belong to the report.
        out: the page, `.html`.
        hessian: output_dir of `python -m hessian`; None: `runs/hessian`, if there is one with records.
        published: a folder of published cells, of which those of the same models and tasks are shown, too; None: none.
        margin: of the equivalence tests, a fraction.
        metric: as of `read.load.load_records`.
        select_by: as of `read.load.load_records`.

    Raises:
        AnalysisError: nothing to read, or the page cannot be written.
    """
    check(out)  # before minutes of work
    frame = load_records(runs, metric=metric, select_by=select_by)
    blocks, unread = blocks_of(runs, hessian)
    data = tree(
        frame,
        published=_beside(frame, published, metric) if published else None,
        blocks=blocks,
        unread=unread,
        searches=load_searches(runs / "search"),
        margin=margin,
    )
    return write(data, out)


def _beside(frame: pd.DataFrame, published: Path, metric: str) -> pd.DataFrame | None:
    """As `of_same_tasks`; where there are none the report is without, and a line says so."""
    try:
        if metric != TEST:
            raise AnalysisError(f"left out published cells, which have no {metric}")
        return of_same_tasks(frame, published)
    except AnalysisError as error:
        log.warning("%s", error)
        return None
