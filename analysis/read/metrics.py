"""Every metric that a record holds, by name."""

import math
import re
from typing import Any, NamedTuple

from analysis.read.form import LARGEST

TEST, VALIDATION = "test", "validation"
"""The scores of a cell's own task: what is shown, and what selects, unless another metric is named."""

NO_METRICS = ("score", "stderr", "n", "groups", "version", "alias", "lower_is_better")
"""Keys that are no metric, or have a name of their own."""

COUNTS = {"sample_len", "sample_count", "samples"}
"""What lm-eval counts; all else that it gives is measured, though it be written `0`."""

LOWER = {"perplexity", "bits", "loss", "nll", "brier", "ter", "wer", "cer", "error", "mse", "rmse", "mae", "ece"}
"""Words in the names of metrics of which less is better, for records that do not say it (lm-eval's `higher_is_better`)."""


class Metric(NamedTuple):
    """One metric of a cell, as its record has it: in its own unit.

    Attributes:
        value: a number; of lm-eval's tasks mostly a fraction.
        base: the same of the untouched base; NaN where it was not measured.
        problems: behind it, those that a set has several rows of once; NaN where the record does not say.
        independent: as many independent rows tell as much (`independent_rows`).
        lower: whether less is better.
        counting: whether it counts something, such as answers without a rating: shown, but no score.
    """

    value: float
    base: float
    problems: float
    independent: float
    lower: bool
    counting: bool


def read_metrics(record: dict[str, Any]) -> dict[str, Metric]:
    """By name: `test/SET`, `validation/SET`, their further numbers `test/SET/KEY`, `validation_loss`, lm-eval's `TASK/METRIC`.

    Of lorabench's tasks, what counts is written as a whole number (`80`), what is measured as a decimal one (`80.0`).

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
            of_score = _metric(of_set, "score")
            metrics[f"{split}/{name}"] = of_score._replace(counting=False, lower=False)
            further = {key: _metric(of_set, key) for key in of_set if key not in NO_METRICS}
            metrics |= {f"{split}/{name}/{key}": metric for key, metric in further.items()}
    loss = _number(record.get("validation_loss"))
    metrics["validation_loss"] = Metric(loss, math.nan, math.nan, math.nan, lower=True, counting=False)
    base = dict(_objects((record.get("base") or {}).get("lm_eval"), "base.lm_eval"))
    for task, scores in _objects(record.get("lm_eval"), "lm_eval"):
        for key in scores:
            if key not in NO_METRICS and "_stderr" not in key:
                of_base, counting = _number(base.get(task, {}).get(key)), key.partition(",")[0] in COUNTS
                metrics[f"{task}/{key}"] = _metric(scores, key)._replace(base=of_base, counting=counting)
    return {name: metric for name, metric in metrics.items() if not math.isnan(metric.value)}


def independent_rows(of_set: dict[str, Any]) -> float:
    """The number of independent rows by whose proportion right, p, a test set tells as much; NaN where its record does not say.

    That is all n of them, unless some are of one problem: then p(1 − p)/stderr² of the record's clustered error, and at most
    the number of problems.
    """
    problems, stderr, p = _problems(of_set), _number(of_set.get("stderr")), _number(of_set.get("score"))
    if problems == _number(of_set.get("n")) or not (stderr > 0 and 0 < p < 1):
        return problems
    return max(1.0, min(problems, p * (1 - p) / stderr**2))


def _metric(of_set: dict[str, Any], key: str) -> Metric:
    value = of_set.get(key)
    rows = _problems(of_set), independent_rows(of_set)
    return Metric(_number(value), math.nan, *rows, lower=_lower(of_set, key), counting=isinstance(value, int))


def _problems(of_set: dict[str, Any]) -> float:
    return _number(of_set.get("groups", of_set.get("n")))


def _objects(tree: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    if tree is not None and not (isinstance(tree, dict) and all(isinstance(part, dict) for part in tree.values())):
        raise ValueError(f"{place} is no object of objects")
    return list((tree or {}).items())


def _number(value: Any) -> float:
    """NaN for what is none, or not finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
    return float(value) if number else math.nan


def words(name: str) -> set[str]:
    """The words of a metric's own name: `arc_easy/acc_norm` → acc, norm."""
    return set(re.split(r"[_,@]", name.rpartition("/")[2]))


def _lower(result: dict[str, Any], key: str) -> bool:
    lower = result.get("lower_is_better")
    return key.partition(",")[0] in lower if isinstance(lower, list) else bool(words(key) & LOWER)
