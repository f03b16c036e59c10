"""Seed means, peaks and best ranges: pure functions on the frame of `read.load.load_records`.

Scores are fractions 0..1. Means are rounded to 12 decimals, so that scores that are equal on paper (the seed means of
0.9, 0.8 and of 0.85, 0.85) tie exactly. A tie goes to the lower learning rate, the more cautious of two equals.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.read.options import SETTING

BEST_RANGE = 0.01
"""A learning rate belongs to the best range if its mean is within this fraction of the peak."""

ROUNDED = 1e-3
"""Learning rates closer than this part of them are the same, rounded as papers do."""


def same_lr(a: float, b: float) -> bool:
    """Whether two learning rates are the same but for rounding (`ROUNDED`)."""
    return math.isclose(a, b, rel_tol=ROUNDED)


def settings(frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each setting, as `{column: value}`, with its cells that have a score."""
    for key, cells in frame[frame["status"] != "failed"].groupby(SETTING, dropna=False):
        yield dict(zip(SETTING, key, strict=True)), cells


def by_setting(frame: pd.DataFrame) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows as dicts by the values of their setting, None for NA; of thousands of settings a frame each would take minutes."""
    rows = defaultdict(list)
    for row in _records(frame):
        rows[setting_key(row)].append(row)
    return dict(rows)


def setting_key(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """The values of a row's setting, None for NA: equal for rows of one setting."""
    return tuple(None if pd.isna(row[key]) else row[key] for key in SETTING)


def setting_of(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row that make its setting; NaN where all samples are trained on (None is a column left out)."""
    setting = {key: row[key] for key in SETTING}
    return setting | ({"train_samples": math.nan} if setting["train_samples"] is None else {})


def group_rows(frame: pd.DataFrame, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Rows of each group as dicts, the groups by the order of their keys, the rows as in the frame."""
    groups = defaultdict(list)
    for number, row in zip(frame.groupby(list(keys), dropna=False).ngroup(), _records(frame), strict=True):
        groups[number].append(row)
    return [groups[number] for number in sorted(groups)]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def seed_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds; diverged cells count as 0, failed cells not at all.

    Returns:
        One row per setting, variant and lr, in that order: `n` seeds, how many of them `diverged`, `test_mean`,
        `test_std` (sample standard deviation, ddof = 1; NaN for one seed), `validation_mean`, `unwritten` (of
        `read.options.separate`), and `few_seeds`: whether another point of the setting has more seeds.
    """
    scored = frame[frame["status"] != "failed"].assign(diverged=frame["status"] == "diverged")
    scored["sum"] = scored["test"] * scored["n"]
    scored["unknown"] = scored["test"].isna()
    means = scored.groupby([*SETTING, "variant", "lr"], dropna=False).agg(
        n=("n", "sum"),
        diverged=("diverged", "sum"),
        sum=("sum", "sum"),
        unknown=("unknown", "any"),
        test_std=("test", "std"),
        published_std=("test_std", "first"),  # of a row that is a mean over seeds already
        validation_mean=("validation", "mean"),
        unwritten=("unwritten", "first"),
    )
    means["test_mean"] = (means.pop("sum") / means["n"]).mask(means.pop("unknown"))
    means["test_std"] = means["test_std"].fillna(means.pop("published_std"))
    means = means.round({"test_mean": 12, "validation_mean": 12}).reset_index()
    means["few_seeds"] = means["n"] < means.groupby(SETTING, dropna=False)["n"].transform("max")
    return means


def peaks(frame: pd.DataFrame, within: float = BEST_RANGE) -> pd.DataFrame:
    """The best learning rate of each variant in each setting.

    Returns:
        One row per setting and variant:
        `peak_lr`, `peak_mean`, `peak_std`, `peak_n`, `peak_few_seeds`: the lr of the highest mean test score, as papers
        report it (chosen on the test set, hence optimistic);
        `selected_lr`, `selected_mean`, …: the lr of the highest mean validation score, with its test score; NaN where there are
        no validation scores, as of published cells;
        `edge`: "low", "high" or "both" if the test peak is at that end of the learning rates tried, where the true
        peak may lie outside, else "";
        `range_low`, `range_high`: the lowest and highest lr around the test peak such that all tried in between have a
        mean of at least (1 − `within`) · peak; NaN if the peak is 0;
        `diverged`, `cells`: counts over all learning rates and seeds.

    >>> from analysis.published import FOLDER
    >>> from analysis.read.load import load_records
    >>> cells = load_records(FOLDER)
    >>> best = peaks(cells[(cells["model"] == "gemma-3-1b") & (cells["batch_size"] == 16)])
    >>> best.set_index("variant").loc[["lora", "pissa"], ["peak_lr", "peak_mean"]].to_dict("index")
    {'lora': {'peak_lr': 0.0002, 'peak_mean': 0.2}, 'pissa': {'peak_lr': 0.00011247, 'peak_mean': 0.2061}}
    """
    rows = []
    for curve in group_rows(seed_means(frame), [*SETTING, "variant"]):  # by rising lr
        scores = [point["test_mean"] for point in curve]
        peak, selected = highest(scores), selected_by([point["validation_mean"] for point in curve])
        low, high = _best_range(scores, peak, within)
        has_range = scores[peak] > 0
        rows.append(
            {key: curve[0][key] for key in [*SETTING, "variant"]}
            | _point(curve, peak, "peak")
            | _point(curve, selected, "selected")
            | {
                "edge": edge(peak, len(curve)),
                "range_low": curve[low]["lr"] if has_range else math.nan,
                "range_high": curve[high]["lr"] if has_range else math.nan,
                "diverged": sum(point["diverged"] for point in curve),
                "cells": sum(point["n"] for point in curve),
            }
        )
    return pd.DataFrame(rows).astype({"train_samples": "Int64"})


def highest(scores: Sequence[float]) -> int:
    """Index of the first maximum, on a tie the lowest learning rate's; NaN counts for none.

    >>> highest([math.nan, 0.7, 0.9, 0.9])
    2
    """
    return max(range(len(scores)), key=lambda i: -math.inf if math.isnan(scores[i]) else scores[i])


def selected_by(validation: Sequence[float]) -> int | None:
    """Index of the best mean validation score, None where one is unknown."""
    return None if any(map(math.isnan, validation)) else highest(validation)


def _point(curve: Sequence[dict[str, Any]], index: int | None, name: str) -> dict[str, object]:
    columns = {"lr": "lr", "mean": "test_mean", "std": "test_std", "n": "n", "few_seeds": "few_seeds"}
    if index is None:
        return {f"{name}_{short}": {"n": 0, "few_seeds": False}.get(short, math.nan) for short in columns}
    return {f"{name}_{short}": curve[index][column] for short, column in columns.items()}


def edge(index: int, length: int) -> str:
    """At which end of so many learning rates one is: "low", "high", "both" of a single one, else "".

    >>> edge(0, 4), edge(2, 4), edge(3, 4), edge(0, 1)
    ('low', '', 'high', 'both')
    """
    if length == 1:
        return "both"
    return {0: "low", length - 1: "high"}.get(index, "")


def _best_range(scores: list[float], peak: int, within: float) -> tuple[int, int]:
    """First and last index of the run around `peak` whose scores are all within the fraction `within` of it."""
    floor = (1 - within) * scores[peak] - 1e-12  # the rounding of the means must not push a score out
    low = high = peak
    while low > 0 and scores[low - 1] >= floor:
        low -= 1
    while high < len(scores) - 1 and scores[high + 1] >= floor:
        high += 1
    return low, high


def learning_rates(means: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """The learning rates that each variant of one setting was tried with, ascending."""
    return {str(variant): tuple(sorted(curve["lr"])) for variant, curve in means.groupby("variant")}
