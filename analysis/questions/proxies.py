"""Do cheap cells (`train_fraction` below 1) order configurations as full ones do?"""

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.options import SETTING
from analysis.read.papers import proxy_correlations
from analysis.stats import LEVEL
from analysis.stats.correlation import RankCorrelation, pearson, rank_correlation
from analysis.stats.student import Estimate
from analysis.style.notes import TUNED_ON_TEST
from analysis.style.numbers import format_estimate
from analysis.style.rendering import Block, render
from analysis.style.settings import hyperparameters, model_and_task

CONFIGURATION = [*SETTING, "variant", "lr"]
"""Columns that a proxy and its full cell share."""

HEADER = ["subset", "fraction", "configurations", "Pearson", "Spearman", "place of its best", "which loses", "time"]
NOTES = [
    "Correlation of the proxies' validation score with the full cells' test score, means over shared seeds; [ ]: "
    f"{100 * LEVEL:.0f} % interval of the bootstrap over configurations. Collapsed cells on both sides raise it: look at the "
    "place, too.",
    "place of its best: of the configuration that the proxies put first, among the full test scores; it loses so many points "
    "against the best. time: the proxies' training time over that of the same cells in full.",
]
APART = ["model", "task", "weights", "train_samples", "epochs", "options"]
"""Columns of which each value has a correlation of its own: more data, say, raise the score of any proxy."""

TASKS = ("math", "code")
"""Of the published correlations."""

log = logging.getLogger(__name__)

LEAST = 5
"""Fewer configurations tell nothing of a correlation."""


class Agreement(NamedTuple):
    """Proxies of one kind against full training.

    Attributes:
        title: model, task and amount of data.
        subset: how the proxies' samples were chosen.
        fraction: of the samples.
        cells: configurations that have both.
        pearson: correlation of the proxy's validation score and the full test score (paper 2's), each the mean over
            the seeds that both have.
        spearman: the same of their ranks.
        place: of the best proxy among the full scores, 1 the best.
        loss: the best full score minus that of the best proxy, a fraction.
        cost: the proxies' training time over that of the full cells; NaN where it was not measured.
    """

    title: str
    subset: str
    fraction: float
    cells: int
    pearson: Estimate
    spearman: RankCorrelation
    place: int
    loss: float
    cost: float


def agreements(frame: pd.DataFrame) -> list[Agreement]:
    """One for each model, task, choice of samples and fraction, from records with and without proxies.

    Raises:
        AnalysisError: no proxies, no full cells, or too few configurations that have both.
    """
    frame = frame[frame["status"] != "failed"]
    proxies, full = frame[frame["train_fraction"] < 1], frame[frame["train_fraction"] == 1]
    if proxies.empty or full.empty:
        counts = f"{len(proxies)} proxy cells and {len(full)} full ones"
        raise AnalysisError(f"{counts}: a comparison needs both; run the same grid with train_fraction=0.1 and without")
    agreements, most = [], 0
    for (*_, subset, _), cells in proxies.groupby([*APART, "subset", "train_fraction"], dropna=False):
        pairs = cells.merge(full, on=[*CONFIGURATION, "seed"], suffixes=("", "_full"))
        means = pairs.groupby(CONFIGURATION, dropna=False)[["validation", "seconds", "test_full", "seconds_full"]].mean()
        both = means.reset_index()
        most = max(most, len(both))
        if len(both) < LEAST:
            part = float(cells["train_fraction"].iloc[0])
            log.warning(
                "left out %s %g: %d configurations have a full cell, too; %d are the least", subset, part, len(both), LEAST
            )
        else:
            setting: dict[str, Any] = {str(key): value for key, value in cells.iloc[0].items()}
            of_data = hyperparameters(setting | {"rank": None, "batch_size": None, "source": ""})
            title = f"{model_and_task(setting)} · {of_data}"
            agreements.append(_agreement(title, str(subset), float(cells["train_fraction"].iloc[0]), both))
    if not agreements:
        raise AnalysisError(f"only {most} configurations have both a proxy and a full cell; {LEAST} are the least")
    return agreements


def _agreement(title: str, subset: str, fraction: float, both: pd.DataFrame) -> Agreement:
    proxy, full = both["validation"].tolist(), both["test_full"].tolist()
    # Of equal proxies one does not know which to take.
    chosen = float(both.loc[both["validation"] == max(proxy), "test_full"].mean())
    return Agreement(
        title=title,
        subset=subset,
        fraction=fraction,
        cells=len(both),
        pearson=pearson(proxy, full),
        spearman=rank_correlation(proxy, full),
        place=1 + sum(score > chosen for score in full),
        loss=max(full) - chosen,
        cost=float(both["seconds"].sum() / both["seconds_full"].sum()),
    )


def text(agreements: Sequence[Agreement], published: bool = False) -> str:
    """A table for each model and task, if wanted that of paper 2 (arXiv 2602.11171, Llama-2-7B), and what the columns mean."""
    blocks = []
    for title in dict.fromkeys(agreement.title for agreement in agreements):
        rows = [_row(agreement) for agreement in agreements if agreement.title == title]
        blocks.append(Block(title, "proxies against full training", HEADER, "<>>>>>>>", rows, []))
    if published:
        papers = [
            [row["subset"], f"{row['fraction']:g}", *(f"{row[f'corr_{task}']:.2f}" for task in TASKS)]
            for row in proxy_correlations()
        ]
        about = f"Pearson ({TUNED_ON_TEST})"
        blocks.append(Block("paper 2: llama-2-7b", about, ["subset", "fraction", *TASKS], "<>>>", papers, []))
    return render(blocks, NOTES, "text")


def _row(agreement: Agreement) -> list[str]:
    cost = "-" if math.isnan(agreement.cost) else f"{100 * agreement.cost:.0f} %"
    estimates = (agreement.pearson, agreement.spearman.rho)
    correlations = ["-" if math.isnan(estimate.value) else format_estimate(estimate) for estimate in estimates]
    place, loss = f"{agreement.place} of {agreement.cells}", f"{100 * agreement.loss:.2f}"
    return [agreement.subset, f"{agreement.fraction:g}", str(agreement.cells), *correlations, place, loss, cost]
