"""Tables, one kind a file: `python -m analysis table RUNS --kind NAME` finds `NAME.py` in this folder, and `--help` lists it.

A kind defines, with names that say what its data are,

    blocks(data, **options)     the blocks to render (`style.rendering.Block`), and the notes below them all
    frame(data, **options)      the same numbers at full precision, for CSV; scores are fractions 0..1

and, where it needs them,

    read(runs, published)       its data; without it they are the cells of `read.load.load_beside`
    add_arguments(parser)       options of its own, which reach `blocks` and `frame` by their names

What several kinds share is in files whose names start with an underscore.
"""

from typing import Any

from analysis.errors import AnalysisError
from analysis.kinds import TABLES
from analysis.style.notes import notes
from analysis.style.rendering import STYLES, render
from analysis.style.sheets import as_csv


def table(data: Any, kind: str = "peaks", style: str = "text", **options: Any) -> str:
    """A table as text.

    Args:
        data: what the kind reads, for most of them a frame of cells (`read.load.load_records`).
        kind: a name in this folder, or a path to a file.
        style: of `style.rendering.STYLES`, or "csv".
        options: of the kind.

    Raises:
        AnalysisError: there is no such kind, or nothing to show.
    """
    module = TABLES.module(kind)
    if style == "csv":
        if not hasattr(module, "frame"):
            raise AnalysisError(f"{kind} defines no function frame, which CSV needs: choose {', '.join(STYLES)}")
        return str(as_csv(module.frame(data, **options)))
    assert style in STYLES
    blocks, remarks = module.blocks(data, **options)
    return render(blocks, [*remarks, *notes(data)], style)
