"""Of each model and task the configuration to use: chosen by validation alone, measured on test, with what is not known."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.recommendation.comparisons import Comparison, after_holm, against, against_untouched
from analysis.questions.recommendation.configurations import Configuration, Group, groups
from analysis.questions.recommendation.defaults import default_of, none_has
from analysis.read import REFERENCE
from analysis.read.load import load_together
from analysis.stats import MARGIN
from analysis.stats.curves import edge, same_lr
from analysis.stats.intervals import Interval, interval

STEP, WIDEST = 10**0.25, 10.0
"""Between learning rates that are proposed, where those tried are closer, or so far apart that they are no grid."""


@dataclass(frozen=True)
class Gaps:
    """What is not known, in numbers; the words are `words.unknown`.

    Attributes:
        pool: configurations that the choice was made among: those with the most seeds (`finalists`).
        several: configurations with two seeds or more.
        better_outside: one beyond the pool with a higher validation score, of fewer seeds.
        lrs: the learning rates tried on the recommended one's curve (`Group.lrs`), rising.
        edge: at which end of them the recommended one is: "low", "high", "both" or "".
        next_lrs: learning rates to try beyond that end.
        distance: of the runner-up, validation score behind the recommended one's; NaN without one.
        validation_stderr: of one cell's validation score, by its problems; NaN where no record says it.
        validation_problems: how many; NaN where no record says it.
        likelihood: the splits whose score is the likelihood of the texts, so that nothing was generated.
    """

    pool: Sequence[Configuration]
    several: int
    better_outside: Configuration | None
    lrs: Sequence[float]
    edge: str
    next_lrs: Sequence[float]
    distance: float
    validation_stderr: float
    validation_problems: float
    likelihood: Sequence[str]


@dataclass(frozen=True)
class Recommendation:
    """The answer for one model and task.

    Attributes:
        group: all that was tried.
        chosen: the configuration of the highest mean validation score; None where none is above 0: all diverged, say.
        score: the interval of its mean test score (`stats.intervals`).
        untouched: it less the untouched model; None where that was not measured.
        default: it less the default LoRA; None where none is named, or it was not run here.
        tuned: it less the LoRA of the best validation score; None where it is a LoRA, or no LoRA was run.
        runner_up: it less the second of the pool; its p-values alone are not corrected for the number of comparisons.
        ranked: all configurations, the best validation score first.
        gaps: None without `chosen`.
        default_missing: a default is named, and is not here.
        margin: differences below it do not matter.
    """

    group: Group
    chosen: Configuration | None
    score: Interval
    untouched: Comparison | None
    default: Comparison | None
    tuned: Comparison | None
    runner_up: Comparison | None
    ranked: Sequence[Configuration]
    gaps: Gaps | None
    default_missing: bool
    margin: float

    @property
    def untouched_better(self) -> bool:
        """On validation, which chooses: then nothing is to be trained."""
        return self.chosen is not None and self.chosen.untouched > self.chosen.validation

    @property
    def name(self) -> str:
        """What the chosen configuration is called in sentences."""
        return "best one tried" if self.untouched_better else "recommended one"


def of_folders(
    runs: Path, searched: Path | None = None, default: Mapping[str, str] | None = None, margin: float = MARGIN
) -> list[Recommendation]:
    """As `recommendation`, of the records of a folder, and of another one those `searched`."""
    frame, *further = load_together([runs, *([searched] if searched else [])], wide=True, as_one=True)
    return recommendation(frame, default, margin, *further)


def recommendation(
    frame: pd.DataFrame,
    default: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    searched: pd.DataFrame | None = None,
) -> list[Recommendation]:
    """One answer for each model and task.

    A configuration is everything but the seed. The highest mean validation score over seeds is chosen among the finalists;
    a tie goes to fewer trained parameters, then to the first. Test scores choose nothing. p-values of the untouched model, the
    default and the tuned LoRA are after Holm; intervals are plain 95 % ones.

    Args:
        frame: of `read.load.load_records(…, wide=True)`.
        default: axes and options of the default LoRA, as `{"lr": "2e-4", "rank": "8"}`; the rest is as in most cells.
        margin: differences below it do not matter, a fraction.
        searched: further cells, of which only what was tried counts (`configurations.groups`).

    Raises:
        AnalysisError: no cell has a validation score, or the default is of no record.
    """
    parts = groups(frame, searched)
    if not any(group.configurations for group in parts):
        raise AnalysisError(
            "no cell has a validation score, and a choice by test score would flatter itself: pass a folder of own cells"
        )
    defaults = [default_of(group, default) if default else None for group in parts]
    if default and not any(defaults):
        raise AnalysisError(none_has(parts, default))
    return [_answer(group, of_group, default is not None, margin) for group, of_group in zip(parts, defaults, strict=True)]


def finalists(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Those with the most seeds: as many as the second of all has, if that is several, so that one more seed excludes nothing.

    Where a single one has several seeds it is alone; where none has, all are.
    """
    counts = sorted((len(one.seeds) for one in configurations), reverse=True)
    least = next((count for count in (*counts[1:2], *counts[:1]) if count > 1), 1)
    return [one for one in configurations if len(one.seeds) >= least]


def ranked(configurations: Sequence[Configuration]) -> list[Configuration]:
    """The best validation score first, then fewer trained parameters, then as they were."""
    return sorted(configurations, key=lambda one: (-one.validation, one.parameters))


def _answer(group: Group, default: Configuration | None, named: bool, margin: float) -> Recommendation:
    order = ranked(group.configurations)
    pool = ranked(finalists(order))
    if pool and not pool[0].validation > 0:  # finalists that all diverged do not stand in the way of others
        pool = ranked(finalists([one for one in order if one.validation > 0]))
    nothing = Interval(math.nan, math.nan, "")
    missing = named and default is None
    if not pool:
        return Recommendation(group, None, nothing, None, None, None, None, order, None, missing, margin)
    chosen = pool[0]
    comparisons = (
        against_untouched(chosen, margin),
        None if default is None else against(chosen, default, margin),
        None if chosen.method == REFERENCE or (tuned := _tuned(group)) is None else against(chosen, tuned, margin),
    )
    untouched, of_default, of_tuned = after_holm(comparisons)
    runner_up = against(chosen, pool[1], margin) if len(pool) > 1 else None
    return Recommendation(
        group, chosen, interval(chosen.rows, chosen.test), untouched, of_default, of_tuned, runner_up, order,
        _gaps(group, chosen, pool), missing, margin,
    )  # fmt: skip


def _tuned(group: Group) -> Configuration | None:
    """The LoRA of the best validation score: among those with the most seeds, where these are several."""
    loras = [one for one in group.configurations if one.method == REFERENCE]
    pool = finalists(loras)
    return next(iter(ranked(pool if len(pool) > 1 else loras)), None)


def _gaps(group: Group, chosen: Configuration, pool: Sequence[Configuration]) -> Gaps:
    outside = [one for one in group.configurations if one not in pool and one.validation > chosen.validation]
    lrs = group.lrs(chosen)
    end = edge(lrs.index(chosen.lr), len(lrs))
    complete = [row for row in chosen.rows if row["status"] == "complete"]
    metrics = json.loads(Path(complete[0]["path"]).read_text(encoding="utf-8"))["metrics"]
    of_cells = [_sizes(row["metrics"], "validation") for row in complete]
    return Gaps(
        pool=pool,
        several=sum(len(one.seeds) > 1 for one in group.configurations),
        better_outside=next(iter(ranked(outside)), None),
        lrs=lrs,
        edge=end,
        next_lrs=_beyond(lrs, end),
        distance=chosen.validation - pool[1].validation if len(pool) > 1 else math.nan,
        validation_stderr=fmean(stderr for stderr, _ in of_cells),
        validation_problems=of_cells[0][1],
        likelihood=[split for split in ("validation", "test") if _is_likelihood(metrics.get(split))],
    )


def _is_likelihood(of_split: Any) -> bool:
    return isinstance(of_split, dict) and set(of_split.get("sets") or {}) == {"likelihood"}


def _sizes(metrics: Mapping[str, Any], split: str) -> tuple[float, float]:
    """Standard error of a split's score and its problems: of K sets √(Σ p(1 − p)/n)/K, at most, of scores in 0 … 1."""
    sets = [metric for name, metric in metrics.items() if name.startswith(f"{split}/") and name.count("/") == 1]
    if not sets or any(not (0 <= metric.value <= 1 and metric.independent > 0) for metric in sets):
        return math.nan, math.nan
    parts = [metric.value * (1 - metric.value) / metric.independent for metric in sets]
    return math.sqrt(sum(parts)) / len(sets), sum(metric.problems for metric in sets)


def _beyond(lrs: Sequence[float], end: str) -> list[float]:
    """One step beyond the ends: the last one of those tried, where that is one of a grid's, or `STEP`."""
    below, above = (_step(lrs[1] / lrs[0]), _step(lrs[-1] / lrs[-2])) if len(lrs) > 1 else (STEP, STEP)
    steps = {"low": [lrs[0] / below], "high": [lrs[-1] * above], "both": [lrs[0] / below, lrs[-1] * above]}.get(end, [])
    return [float(f"{lr:.3e}") for lr in steps if not any(same_lr(lr, tried) for tried in lrs)]


def _step(ratio: float) -> float:
    return ratio if STEP <= ratio <= 1.001 * WIDEST else STEP
