"""Every metric that a record holds, by name, and how one of them takes the place of the cells' own test score."""

import difflib
import logging
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.read.checked import LARGEST

log = logging.getLogger(__name__)

TEST, VALIDATION = "test", "validation"
"""The scores of a cell's own task: what is shown, and what selects, unless another metric is named."""

NO_METRICS = ("score", "stderr", "n", "version", "alias", "lower_is_better")
LOWER = {"perplexity", "bits", "loss", "nll", "brier", "ter", "wer", "cer", "error", "mse", "rmse", "mae", "ece"}
"""Words in the names of metrics of which less is better, for records that do not say it (lm-eval's `higher_is_better`)."""

PERCENTAGES = {"ter", "wer", "cer", "error"}
"""Of these the words of metrics that may be percentages."""

PROBABILITIES = {
    "perplexity": (lambda value: 1 / value if value > 0 else math.nan, "1/perplexity, the mean probability"),
    "bits": (lambda value: 2.0**-value, "2^-bits, the mean probability"),
    "loss": (lambda value: math.exp(-value), "exp(-loss), the mean probability"),
    "nll": (lambda value: math.exp(-value), "exp(-loss), the mean probability"),
}
"""By a word in its name, how a likelihood becomes a score of which more is better and 0 is what a diverged run has."""


class Metric(NamedTuple):
    """One metric of a cell, as its record has it: in its own unit.

    Attributes:
        value: a number; of lm-eval's tasks mostly a fraction.
        base: the same of the untouched base; NaN where it was not measured.
        problems: behind it; NaN where the record does not say.
        lower: whether less is better.
    """

    value: float
    base: float
    problems: float
    lower: bool


def read_metrics(record: dict[str, Any]) -> dict[str, Metric]:
    """By name: `test/SET`, `validation/SET`, their further numbers `test/SET/KEY`, `validation_loss`, lm-eval's `TASK/METRIC`.

    Raises:
        ValueError: with a reason in one line, where what should hold them is no object.
    """
    metrics: dict[str, Metric] = {}
    for split in (TEST, VALIDATION):
        of_split = (record.get("metrics") or {}).get(split)
        sets = of_split.get("sets") if isinstance(of_split, dict) else None
        for name, of_set in sets.items() if isinstance(sets, dict) else ():
            if not isinstance(of_set, dict):
                continue  # `read.record` says what of this it needs, and the report that it is damaged
            problems = _number(of_set.get("n"))
            for key in ("score", *(key for key in of_set if key not in NO_METRICS)):
                place = f"{split}/{name}" if key == "score" else f"{split}/{name}/{key}"
                metrics[place] = Metric(_number(of_set.get(key)), math.nan, problems, lower=False)
    metrics["validation_loss"] = Metric(_number(record.get("validation_loss")), math.nan, math.nan, lower=True)
    base = dict(_objects((record.get("base") or {}).get("lm_eval"), "base.lm_eval"))
    for task, result in _objects(record.get("lm_eval"), "lm_eval"):
        for key in result:
            if key not in NO_METRICS and "_stderr" not in key:
                untouched = _number(base.get(task, {}).get(key))
                metrics[f"{task}/{key}"] = Metric(
                    _number(result[key]), untouched, _number(result.get("n")), _lower(result, key)
                )
    return {name: metric for name, metric in metrics.items() if not math.isnan(metric.value)}


def _objects(tree: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    if tree is not None and not (isinstance(tree, dict) and all(isinstance(part, dict) for part in tree.values())):
        raise ValueError(f"{place} is no object of objects")
    return list((tree or {}).items())


def _number(value: Any) -> float:
    """NaN for what is none, or not finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
    return float(value) if number else math.nan


def _words(name: str) -> set[str]:
    return set(re.split(r"[_,/]", name.rpartition("/")[2]))


def _lower(result: dict[str, Any], key: str) -> bool:
    lower = result.get("lower_is_better")
    return key.partition(",")[0] in lower if isinstance(lower, list) else bool(_words(key) & LOWER)


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
        scores = {id(row): score for row, score, *_ in chosen}
        same = "; chosen and shown by the same scores, so optimistic" if select_by == metric else ""
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


def _take(
    rows: Sequence[dict[str, Any]], name: str, option: str, allowed: Any
) -> tuple[list[tuple[dict[str, Any], float, float, float]], str]:
    """Each row with the metric, its score, the base's, and the problems of a proportion; and how scores were made of values."""
    scored = [row for row in rows if row["status"] != "failed"]
    if name == TEST:
        return [(row, row["test"], row.get("base_test", math.nan), row.get("problems", math.nan)) for row in scored], ""
    complete = [(row, row.get("metrics") or {}) for row in scored if _complete(row)]
    measured = [(row, of_row[name]) for row, of_row in complete if name in of_row and allowed(name)]
    if not measured:
        names = sorted({TEST, *(key for _, of_row in complete for key in of_row if allowed(key))})
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        nearest = f"did you mean {close[0]}? " if close else ""
        raise AnalysisError(f"no cell has {option} {name}; {nearest}There are {', '.join(names)}")
    lower = any(metric.lower for _, metric in measured)
    convert, how = as_scores(name, lower, [value for _, m in measured for value in (m.value, m.base) if not math.isnan(value)])
    evaluators = {_evaluator(row) for row, _ in measured}
    zeros = [(row, 0.0, math.nan, math.nan) for row in scored if not _complete(row) and _evaluator(row) in evaluators]
    proportion = not how
    return [
        (row, convert(m.value), math.nan if math.isnan(m.base) else convert(m.base), m.problems if proportion else math.nan)
        for row, m in measured
    ] + zeros, how


def _complete(row: dict[str, Any]) -> bool:
    return bool(row["status"] == "complete")


def _evaluator(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a diverged cell would have been measured by."""
    options = row.get("setting_options", {})
    return row["task"], tuple(sorted((key, value) for key, value in options.items() if key.startswith("evaluator")))


def as_scores(name: str, lower: bool, values: Sequence[float]) -> tuple[Any, str]:
    """The function from the values of a metric to scores from 0 to 1 of which more is better, and its name in words.

    Fractions stay as they are, percentages are divided by 100. Of what is better when lower, perplexities, bits and losses
    become the mean probabilities that they are of, and other numbers from 0 to 1 (2 of Brier scores, 100 of error rates)
    what they lack to it.

    Raises:
        AnalysisError: the values lie elsewhere.
    """
    if lower:
        for word, (convert, how) in PROBABILITIES.items():
            if word in _words(name):
                return convert, f" as {how}: less of it is better, more is shown"
    top = max(values)
    whole = 2 if "brier" in _words(name) else 1 if top <= 1 else 100  # Brier's score of certain mistakes is 2 (Brier 1950)
    if min(values) < 0 or top > whole or (lower and whole == 100 and not _words(name) & PERCENTAGES):
        raise AnalysisError(
            f"{name} has values from {min(values):.4g} to {top:.4g}, which are no scores from 0 to 1 or 100: "
            "`--kind metrics` and export have them as they are"
        )
    percent = f" / {whole}" if whole > 1 else ""
    if lower:
        return lambda value: 1 - value / whole, f" as 1 - value{percent}: less of it is better, more is shown"
    return lambda value: value / whole, f" as value{percent}" if percent else ""
