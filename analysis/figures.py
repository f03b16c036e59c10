"""The kinds of figures, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def figure(kind: str, runs: Path, published: Path | None = None) -> Figure:
    """Draw a kind of figure from an output directory, with published cells beside its own if a folder of them is given.

    Raises:
        AnalysisError: if there is nothing there to draw.
    """
    if kind == "search":
        from analysis.journals import load_journals
        from analysis.search_plot import progress

        return progress(load_journals(runs))
    if kind == "audit":
        from analysis.audit_plot import audit_figure
        from analysis.published import audit

        return audit_figure(audit(runs / "audit.csv"))
    from analysis.load import load_beside

    frame = load_beside(runs, published)
    match kind:
        case "heatmap":
            from analysis.heatmap_plot import heatmap

            return heatmap(frame)
        case "pareto":
            from analysis.pareto_plot import pareto

            return pareto(frame)
        case "rank" | "duration" | "batch":
            from analysis.over_plot import over

            return over(frame, {"batch": "batch_size"}.get(kind, kind))
        case _:
            from analysis.plots import lr_curves

            return lr_curves(frame)
