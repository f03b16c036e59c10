"""What papers on LoRA variants tune (arXiv 2602.04998, figure 2)."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.read.papers import audit
from analysis.style.drawing import GREY

BARS = {"tunes_lr": "tune the learning rate", "tunes_batch_size": "tune the batch size", "compares_rank": "compare ranks"}


def read(runs: Path, published: Path | None) -> pd.DataFrame:
    """The papers: `RUNS/audit.csv`, as in `analysis/published`."""
    return audit(runs / "audit.csv")


def draw(papers: pd.DataFrame) -> Figure:
    """Bars: how many of the papers do each of the three, all, and none, and how many keep one learning rate."""
    counts = {label: int(papers[name].sum()) for name, label in BARS.items()}
    together = papers[list(BARS)].sum(axis=1)
    counts |= {"all three": int((together == 3).sum()), "none of them": int((together == 0).sum())}
    counts["keep one learning rate"] = int((papers["tunes_lr"] == 0).sum())
    figure = Figure(figsize=(7, 3.1), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(
        list(counts), list(counts.values()), color=["#0072B2"] * 3 + ["#009E73", "#999999", "#999999"], height=0.65
    )
    axes.bar_label(bars, padding=4)
    axes.set_xlim(0, len(papers))
    axes.invert_yaxis()
    axes.set_xlabel(f"of {len(papers)} papers on LoRA variants")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title("What is tuned", loc="left", fontsize=11, fontweight="bold")
    figure.supxlabel("Paper 1's audit, arXiv 2602.04998, figure 2.", x=0.01, ha="left", fontsize=8, color=GREY)
    return figure
