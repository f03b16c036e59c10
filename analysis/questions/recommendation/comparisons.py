"""The recommended configuration against another one and against the untouched model, on test problems that chose neither."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from scipy.stats import t

from analysis.questions.differences import of_means, paired_difference
from analysis.questions.recommendation.configurations import Configuration, Row
from analysis.read.completions import untouched
from analysis.stats import ZERO, equivalence, power, student
from analysis.stats.welch import Side


@dataclass(frozen=True)
class Comparison:
    """The recommended configuration's test score less another one's, a fraction.

    Attributes:
        other: that other; None for the untouched model.
        score: its mean test score over its own seeds.
        value: the difference.
        low: lower end of its 95 % interval, NaN where nothing tells the noise.
        high: upper end.
        how: "paired" (problem by problem on shared seeds, for new seeds and problems; for these trained models alone where
            there is one seed), "means" (Welch, for new seeds alone), "seeds" (Student's t of its own seeds against a
            fixed number), "" (nothing tells), or "same": it is the recommended one itself.
        seeds: behind the difference.
        left_out: seeds that one of both has alone, and that are not in it.
        problems: paired; 0 where they are not.
        p_different: of no difference.
        p_equivalent: of a difference of the margin or more.
        seeds_needed: of each, to tell the margin apart on these problems; infinity where the problems are too few.
    """

    other: Configuration | None
    score: float
    value: float
    low: float = math.nan
    high: float = math.nan
    how: str = ""
    seeds: int = 0
    left_out: int = 0
    problems: int = 0
    p_different: float = math.nan
    p_equivalent: float = math.nan
    seeds_needed: float = math.nan

    @property
    def verdict(self) -> str:
        """Of `stats.equivalence.word`: "different", "equivalent", "both" or "open"."""
        return equivalence.word(self.p_different, self.p_equivalent)


def against(chosen: Configuration, other: Configuration, margin: float) -> Comparison:
    """By `stats.paired.difference` on the seeds of both, where completions reproduce the scores; else by Welch's test."""
    if chosen is other:
        return Comparison(other, other.test, 0.0, how="same")
    by_seed = [{row["seed"]: row for row in one.rows} for one in (chosen, other)]
    shared = sorted(by_seed[0].keys() & by_seed[1].keys())
    # Two seeds of each that are not shared say more of new seeds than one that is.
    if len(shared) > 1 or min(map(len, by_seed)) < 2:
        of_chosen, of_other = ([rows[seed] for seed in shared] for rows in by_seed)
        comparison = _paired(of_chosen, of_other, margin)
        if comparison is not None:
            return replace(comparison, other=other, score=other.test, left_out=len(by_seed[0].keys() ^ by_seed[1].keys()))
    row = of_means(_side(chosen), _side(other), margin)
    return Comparison(
        other, other.test, row["value"], row["low"], row["high"], row["how"], row["seeds"],
        p_different=row["p_different"], p_equivalent=row["p_equivalent"], seeds_needed=row["seeds_needed"],
    )  # fmt: skip


def against_untouched(chosen: Configuration, margin: float) -> Comparison | None:
    """Problem by problem where the base's completions are kept and reproduce its score; else its score is a fixed number.

    Against a fixed number b the interval is Student's of the seeds' means, x̄ − b ± t(S − 1) · s / √S, for these problems.

    Returns:
        None where the base was not measured.
    """
    scores = [float(row["base_test"]) for row in chosen.rows]
    if any(map(math.isnan, scores)):
        return None
    kept = untouched(chosen.records[0])
    if kept is not None:
        of_base: list[Row] = [
            {"status": "complete", "path": str(kept), "test": score} for score in scores
        ]  # the same answers to every seed
        comparison = _paired(chosen.rows, of_base, margin)
        if comparison is not None:
            return replace(comparison, score=fmean(scores))
    value, n = chosen.test - fmean(scores), len(scores)
    deviation = stdev(row["test"] - score for row, score in zip(chosen.rows, scores, strict=True)) if n > 1 else math.nan
    comparison = Comparison(None, fmean(scores), value, seeds=n)
    if not deviation > ZERO:
        return comparison
    stderr = deviation / math.sqrt(n)
    low, high = student.interval(value, stderr, n - 1)
    return replace(
        comparison,
        low=low,
        high=high,
        how="seeds",
        p_different=2 * float(t.sf(abs(value) / stderr, n - 1)),
        p_equivalent=equivalence.tost(value, stderr, n - 1, margin),
    )


def after_holm(comparisons: Sequence[Comparison | None]) -> list[Comparison | None]:
    """The same with p-values corrected for how many there are (`stats.equivalence.holm`)."""
    made = [comparison for comparison in comparisons if comparison is not None]
    different, equivalent = (equivalence.holm([getattr(one, key) for one in made]) for key in ("p_different", "p_equivalent"))
    corrected = iter(replace(one, p_different=p, p_equivalent=q) for one, p, q in zip(made, different, equivalent, strict=True))
    return [None if comparison is None else next(corrected) for comparison in comparisons]


def _paired(of_chosen: Sequence[Row], of_other: Sequence[Row], margin: float) -> Comparison | None:
    paired = paired_difference(of_chosen, of_other)
    if paired is None:
        return None
    low, high = paired.interval()
    return Comparison(
        None, math.nan, paired.value, low, high, "paired", paired.seeds, problems=paired.problems,
        p_different=paired.p(), p_equivalent=paired.p_equivalent(margin),
        seeds_needed=power.seeds_needed(margin, paired.components, paired.problems),
    )  # fmt: skip


def _side(one: Configuration) -> Side:
    scores = [row["test"] for row in one.rows]
    return Side(one.test, stdev(scores) if len(scores) > 1 else math.nan, len(scores))
