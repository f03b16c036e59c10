"""Search progress: the best score so far over evaluations, one line a method, with its spread over seeds."""

import math
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.read.journals import load_journals
from analysis.stats.searches import progress as best_over_searches
from analysis.style.drawing import GREY, MOST_LINES, caption, casing, legend, plain
from analysis.style.palette import method_styles

START = 1 / 6
"""Of the evaluations: where all scores of the first ones are far lower, they would leave no room for the differences later."""

MARKED = 5
"""Evaluations from one marker of a line to the next."""


def read(runs: Path, published: Path | None) -> pd.DataFrame:
    """The journals of the folder."""
    return load_journals(runs)


def draw(journals: pd.DataFrame) -> Figure:
    """One panel a space; line and band: `read.journals.progress` over seeds."""
    panels = list(journals.groupby("space"))
    style_of = method_styles(journals["method"])
    below = False
    several = journals.groupby(["space", "method"])["file"].nunique().max() > 1
    figure = Figure(figsize=(6.4 * len(panels) + 1.3, 4.2), layout="constrained")
    for index, (_, runs) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), index + 1)
        bottoms = list[float]()
        for place, (name, style) in enumerate(style_of.items()):
            of_method = runs[runs["method"] == name]
            if of_method.empty:
                continue
            rows = best_over_searches([best.tolist() for _, best in of_method.groupby("file")["best"]])
            numbers = [row[0] for row in rows]
            middle, low, high = ([100 * row[i] for row in rows] for i in (1, 2, 3))
            line: dict[str, Any] = {"color": style.color, "linestyle": style.linestyle, "linewidth": 1.8}
            line |= {"marker": style.marker, "markevery": (place % MARKED, MARKED)}  # those of different methods apart
            axes.plot(numbers, middle, **line, drawstyle="steps-post", path_effects=casing(), zorder=3)
            bottoms.append(low[min(round(START * numbers[-1]), len(low) - 1)])
            axes.fill_between(numbers, low, high, color=style.color, alpha=0.15, linewidth=0, step="post")
        seeds = math.floor(runs.groupby("method")["file"].nunique().median())
        title = textwrap.wrap(runs["problem"].iloc[0], 72, max_lines=MOST_LINES, placeholder=" …")
        title += [f"{seeds} search{'es' if seeds > 1 else ''} a method"] if several else []
        axes.set_title(plain("\n".join(title)), loc="left", fontsize=9, color=GREY)
        axes.set_xlabel("evaluations")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        bottom, top = min(bottoms, default=math.nan), axes.dataLim.y1
        if bottom - axes.dataLim.y0 > top - bottom > 0:
            axes.set_ylim(bottom - 0.15 * (top - bottom), top + 0.05 * (top - bottom))
            below = True
        axes.set_ylabel("best validation score so far (%)")
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=legend(style_of), loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    words = "Line: median over seeds; band: the middle half." if several else "One search a method."
    if below:
        words += " The axis starts at the scores after a sixth of the evaluations; earlier ones may be below it."
    caption(figure, words)
    return figure
