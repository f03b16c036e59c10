"""The kinds of figures, by name."""

from pathlib import Path

from matplotlib.figure import Figure

from analysis.read.load import load_beside


def figure(kind: str, runs: Path, published: Path | None = None) -> Figure:
    """Draw a kind of figure from an output directory, with published cells beside its own if a folder of them is given.

    Raises:
        AnalysisError: if there is nothing there to draw.
    """
    if kind == "search":
        from analysis.figures.search import progress
        from analysis.read.journals import load_journals

        return progress(load_journals(runs))
    if kind == "audit":
        from analysis.figures.audit import audit_figure
        from analysis.read.published import audit

        return audit_figure(audit(runs / "audit.csv"))
    frame = load_beside(runs, published)
    match kind:
        case "heatmap":
            from analysis.figures.heatmap import heatmap

            return heatmap(frame)
        case "pareto":
            from analysis.figures.pareto import pareto

            return pareto(frame)
        case "rank" | "duration" | "batch":
            from analysis.figures._over import over

            return over(frame, {"batch": "batch_size"}.get(kind, kind))
        case _:
            from analysis.figures.lr_curves import lr_curves

            return lr_curves(frame)
