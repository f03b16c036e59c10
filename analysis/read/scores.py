"""How a metric takes the place of the cells' own test score: its unit, and which way is better."""

import difflib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.read.metrics import TEST, VALIDATION, Metric, words
from analysis.style.notes import Choice

log = logging.getLogger(__name__)

FRACTION, PERCENT = "fraction", "percent"
UNITS = {FRACTION: 1, "brier": 2, PERCENT: 100}
"""By unit the largest value: Brier's score of certain mistakes is 2 (Brier 1950)."""

UNIT_OF = {"acc": FRACTION, "accuracy": FRACTION, "match": FRACTION, "pass": FRACTION, "brier": "brier"} | dict.fromkeys(
    ("bleu", "chrf", "ter"), PERCENT
)
"""By a word in a metric's name what it is in, the first that is there; others (F1, ROUGE) are now this, now that."""

PROBABILITIES = {
    "perplexity": (lambda value: 1 / value if value > 0 else math.nan, "1/perplexity, the mean probability"),
    "bits": (lambda value: 2.0**-value, "2^-bits, the mean probability"),
    "loss": (lambda value: math.exp(-value), "exp(-loss), the mean probability"),
    "nll": (lambda value: math.exp(-value), "exp(-loss), the mean probability"),
}
"""By a word in its name, how a likelihood becomes a score of which more is better and 0 is what a diverged run has."""


class Scored(NamedTuple):
    """A row of `read.record`, its score by a metric, that of its untouched base, and how many independent rows tell it."""

    row: dict[str, Any]
    score: float
    base: float
    problems: float


def show(
    rows: Sequence[dict[str, Any]], metric: str = TEST, select_by: str = VALIDATION
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of `read.record` whose `test` is the metric, and whose `validation`, by which a cell is selected, is the other.

    Both are scores from 0 to 1 of which more is better (`as_scores`), so that everything made of test scores can be made of
    them. Diverged cells score 0 as ever where others with their evaluator have the metric; cells without it are left out, and
    a line counts them.

    Returns:
        The rows, and what a reader is told about the scores.

    Raises:
        AnalysisError: no cell has such a metric, or its values are no scores.
    """
    rows, notes = list(rows), []
    if select_by != VALIDATION:
        chosen, how = _take(rows, select_by, "--select-by", lambda name: True)
        if missing := sum(row["status"] != "failed" for row in rows) - len(chosen):
            log.warning("cells without %s, which cannot be selected by it: %d", select_by, missing)
        scores = {id(of_cell.row): of_cell.score for of_cell in chosen}
        chosen_by = choice(metric, select_by)
        same = f"; {chosen_by.verdict}" if chosen_by.on_test else ""
        notes.append(f"Selected by {select_by}{how}, in the place of the validation score{same}.")
    if metric != TEST:
        shown, how = _take(rows, metric, "--metric", lambda name: not name.startswith(VALIDATION))
        if missing := sum(row["status"] != "failed" for row in rows) - len(shown):
            log.warning("left out cells without %s: %d", metric, missing)
        validation = {id(row): row["validation"] for row in rows} if select_by == VALIDATION else scores
        rows = [
            row
            | {"test": score, "base_test": base, "test_std": math.nan, "metric": metric, "problems": problems}
            | {"validation": validation.get(id(row), math.nan)}
            for row, score, base, problems in shown
        ]
        notes.insert(0, f"Score, here in the place of the test score: {metric}{how}.")
    elif select_by != VALIDATION:
        rows = [row | {"validation": scores.get(id(row), math.nan)} for row in rows]
    return rows, notes


def label(metric: str, select_by: str) -> str:
    """What a setting is written with: `score: arc_easy/acc, selected by validation_loss`."""
    parts = [f"score: {metric}"] if metric != TEST else []
    return ", ".join([*parts, *([f"selected by {select_by}"] if select_by != VALIDATION else [])])


def choice(metric: str, select_by: str) -> Choice:
    """What a choice by one metric is to scores of another: optimistic where both are of the same test problems."""
    return Choice(select_by, on_test=_problems_of(select_by) == _problems_of(metric))


def _problems_of(name: str) -> str:
    """`test`, `validation`, or a task of lm-eval."""
    return VALIDATION if name.startswith(VALIDATION) else name.partition("/")[0]


def _take(rows: Sequence[dict[str, Any]], name: str, option: str, allowed: Callable[[str], bool]) -> tuple[list[Scored], str]:
    """The cells with the metric, and how scores were made of its values."""
    scored = [row for row in rows if row["status"] != "failed"]
    if name == TEST:
        return [Scored(row, row["test"], row.get("base_test", math.nan), row.get("problems", math.nan)) for row in scored], ""
    complete = _measured([row for row in scored if row["status"] == "complete"], allowed)
    names = {key for _, of_row in complete for key in of_row}
    key, unit = _unit(name, names)
    measured = [(row, of_row[key]) for row, of_row in complete if key in of_row]
    if not measured:
        close = difflib.get_close_matches(name, [TEST, *names], n=1, cutoff=0.4)
        nearest = f" (did you mean {close[0]}?)" if close else ""
        raise AnalysisError(f"no cell has {option} {name}{nearest}: there are {', '.join(sorted({TEST, *names}))}")
    lower = any(metric.lower for _, metric in measured)
    values = [value for _, m in measured for value in (m.value, m.base) if not math.isnan(value)]
    convert, how = as_scores(key, lower, unit, values)
    evaluators = {_evaluator(row) for row, _ in measured}
    diverged = [row for row in scored if row["status"] != "complete" and _evaluator(row) in evaluators]
    return [
        # of a proportion alone the number of problems tells its noise
        Scored(row, convert(m.value), math.nan if math.isnan(m.base) else convert(m.base), math.nan if how else m.independent)
        for row, m in measured
    ] + [Scored(row, 0.0, math.nan, math.nan) for row in diverged], how


def _measured(rows: Sequence[dict[str, Any]], allowed: Callable[[str], bool]) -> list[tuple[dict[str, Any], dict[str, Metric]]]:
    """Each row with its metrics, but for what all rows count: a 0 among fractions is one, however it is written."""
    metrics_of: list[dict[str, Metric]] = [row.get("metrics") or {} for row in rows]
    measured = {name for of_row in metrics_of for name, m in of_row.items() if allowed(name) and not m.counting}
    kept = [{name: metric for name, metric in of_row.items() if name in measured} for of_row in metrics_of]
    return list(zip(rows, kept, strict=True))


def _unit(name: str, names: set[str]) -> tuple[str, str]:
    """The metric that a name means, and its unit: as stated, `squad/f1:percent`, else by what is known of it, else ""."""
    metric, _, stated = name.rpartition(":")
    if name not in names and stated in (FRACTION, PERCENT):
        return metric, stated
    if name.startswith((f"{TEST}/", f"{VALIDATION}/")):
        return name, FRACTION  # as lorabench's tasks score
    return name, next((unit for word, unit in UNIT_OF.items() if word in words(name)), "")


def _evaluator(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a diverged cell would have been measured by."""
    options = row.get("setting_options", {})
    return row["task"], tuple(sorted((key, value) for key, value in options.items() if key.startswith("evaluator")))


def as_scores(name: str, lower: bool, unit: str, values: Sequence[float]) -> tuple[Callable[[float], float], str]:
    """The function from the values of a metric to scores from 0 to 1 of which more is better, and its name in words.

    Fractions stay as they are, percentages are divided by 100. Of what is better when lower, perplexities, bits and losses
    become the mean probabilities that they are of, and other numbers what they lack to the largest of their `UNITS`.

    Raises:
        AnalysisError: the unit is not known, which no value tells (0.8 is a fraction, or less than one percent), or the values
            are not of it.
    """
    if lower and (likelihoods := [of_word for word, of_word in PROBABILITIES.items() if word in words(name)]):
        convert, how = likelihoods[0]
        return convert, f" as {how}: less of it is better, more is shown"
    span, elsewhere = f"{min(values):.4g} to {max(values):.4g}", "`--kind metrics` and export have it as recorded"
    if not unit:
        raise AnalysisError(
            f"nothing says in which unit {name} is (here {span}): write {name}:fraction or {name}:percent, if it is either; "
            f"{elsewhere}"
        )
    largest = UNITS[unit]
    if min(values) < 0 or max(values) > largest:
        other = (
            f", or write {name}:percent if that is what it is in" if unit == FRACTION and max(values) <= UNITS[PERCENT] else ""
        )
        raise AnalysisError(f"{name} is from {span}, and a score in its unit from 0 to {largest}: {elsewhere}{other}")
    by = f" / {largest}" if largest > 1 else ""
    if lower:
        return lambda value: 1 - value / largest, f" as 1 - value{by}: less of it is better, more is shown"
    return lambda value: value / largest, f" as value{by}" if by else ""
