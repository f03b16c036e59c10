"""The configurations of a folder, of which one is to be recommended, and how each is said as overrides."""

import json
import logging
import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from analysis.questions.overrides import overrides
from analysis.read.options import short
from analysis.stats.curves import setting_key
from analysis.style.palette import in_order

log = logging.getLogger(__name__)

Row = dict[str, Any]

AXES = ("batch_size", "train_samples", "epochs")
"""Of a cell, beside variant, lr and rank: named where several were tried."""

MEASURES = ("task.", "model.", "evaluator")
"""How options start that decide what is measured: scores of cells that differ in one are not compared."""


@dataclass(frozen=True)
class Configuration:
    """The cells that differ in their seeds alone.

    Attributes:
        rows: of `read.load.load_records`, by rising seed.
    """

    rows: Sequence[Row]

    @property
    def variant(self) -> str:
        """Its name, with the options that differ: `lora alpha=16`."""
        return str(self.rows[0]["variant"])

    @property
    def method(self) -> str:
        """The name without options."""
        return self.variant.partition(" ")[0]

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.rows[0]["lr"])

    @property
    def curve(self) -> tuple[Any, ...]:
        """All but lr and seed: equal for the configurations of one curve of learning rates."""
        return (*setting_key(self.rows[0]), self.variant)

    @property
    def seeds(self) -> list[int]:
        """Rising."""
        return [int(row["seed"]) for row in self.rows]

    @cached_property
    def validation(self) -> float:
        """Mean over seeds, a diverged one counting 0; NaN where one is unknown. Equal on paper is equal here."""
        return round(fmean(row["validation"] for row in self.rows), 12)

    @cached_property
    def test(self) -> float:
        """Mean over seeds, a diverged one counting 0."""
        return fmean(row["test"] for row in self.rows)

    @cached_property
    def untouched(self) -> float:
        """The untouched model's validation score, a mean over the records that say it; NaN where none does."""
        bases = [json.loads(Path(path).read_text(encoding="utf-8")).get("base") or {} for path in self.records]
        scores = [score for base in bases if isinstance(score := base.get("validation"), (int, float)) and math.isfinite(score)]
        return round(fmean(scores), 12) if scores else math.nan

    @property
    def diverged(self) -> int:
        """Seeds that did."""
        return sum(row["status"] == "diverged" for row in self.rows)

    @property
    def parameters(self) -> float:
        """Trained; infinite where no record says it."""
        return min((row["parameters"] for row in self.rows if not math.isnan(row["parameters"])), default=math.inf)

    @property
    def records(self) -> list[str]:
        """Paths, by seed."""
        return [str(row["path"]) for row in self.rows]

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the first of its cells was configured with, with the `data_seed` that its row stands for."""
        config: dict[str, Any] = json.loads(Path(self.records[0]).read_text(encoding="utf-8"))["config"]
        if isinstance(data_seed := self.rows[0].get("regrouped"), str):
            config["data_seed"] = None if data_seed == "unset" else int(data_seed)
        return config

    @cached_property
    def options(self) -> dict[str, str]:
        """Overrides of what no axis says and differs from the yamls: `{"variant.alpha": "16"}`; none that cannot be said."""
        try:
            words = [word.partition("=") for text in overrides(self.config) for word in shlex.split(text)]
        except (ValueError, OmegaConfBaseException) as error:
            log.warning("left out of the overrides of %s, for none can say them: its options (%s)", self.variant, error)
            return {}
        return {key: value for key, _, value in words}

    def axis(self, name: str) -> Any:
        """The value of an axis of the sweep, None for all samples."""
        value = self.rows[0][name]
        return None if pd.isna(value) else value


@dataclass(frozen=True)
class Group:
    """All configurations of a model and task whose scores are of the same problems.

    Attributes:
        model: its name.
        weights: "pretrained", or what else they are.
        task: its name.
        measured: the options that set it apart from other groups of this model and task, as text.
        configurations: with a validation score, in order: variant, then rising lr, then the other axes.
        unvalidated: cells without one, such as published ones.
        failed: cells of the model and task that did.
        varied: axes and options of which several values were tried.
        searched: further ones, in the same order, of which only what was tried counts.
    """

    model: str
    weights: str
    task: str
    measured: str
    configurations: Sequence[Configuration]
    unvalidated: int
    failed: int
    varied: frozenset[str] = frozenset()
    searched: Sequence[Configuration] = ()

    @property
    def tried(self) -> Sequence[Configuration]:
        """All, those that were searched alone as well; one that is in both counts once."""
        return list({(*one.curve, one.lr): one for one in (*self.searched, *self.configurations)}.values())

    def lrs(self, configuration: Configuration) -> list[float]:
        """The learning rates tried on a configuration's curve, rising."""
        return sorted({one.lr for one in self.tried if one.curve == configuration.curve})

    def several_curves(self, configuration: Configuration) -> bool:
        """Whether its method was tried with other settings or options, too, as with another rank."""
        return len({one.curve for one in self.tried if one.method == configuration.method}) > 1

    def overrides(self, configuration: Configuration) -> dict[str, Any]:
        """What makes a configuration among the others: variant, lr, rank, and what varies.

        Returns:
            By key a number or a text such that `key=value` is an override: options of the variant that are not its yaml's
            always, other axes and settings where several were tried. All samples are "null".
        """
        # The name of a method of PEFT is made of its yaml's and the type.
        own = "peft" if "peft_type" in configuration.config["variant"] else configuration.method
        words: dict[str, Any] = {"variant": own, "lr": configuration.lr, "rank": configuration.axis("rank")}
        words |= {
            axis: "null" if (value := configuration.axis(axis)) is None else value for axis in AXES if axis in self.varied
        }
        return words | {
            key: value
            for key, value in configuration.options.items()
            if key.lstrip("+").startswith("variant.") or key in self.varied
        }


def groups(frame: pd.DataFrame, searched: pd.DataFrame | None = None) -> list[Group]:
    """The groups of a frame of `read.load.load_records(…, wide=True)`, by model, weights and task.

    Args:
        frame: the records.
        searched: further ones, of the same call of `load_together(…, as_one=True)`; those measured otherwise are left out.
    """
    rows, beside = _rows(frame), [] if searched is None else _rows(searched)
    failed = Counter((row["model"], row["task"]) for row in rows if row["status"] == "failed")
    names = dict.fromkeys(str(name) for of in (frame, searched) if of is not None for name in of.columns)
    columns = [name for name in names if name.startswith(MEASURES)]
    by_task = defaultdict(list)
    for row in rows:
        if row["status"] != "failed":
            by_task[_task(row)].append(row)
    return [
        _group(name, measured, of_group, [row for row in beside if _alike(row, of_group[0], columns)], failed[name[0], name[2]])
        for name, of_task in sorted(by_task.items())
        for measured, of_group in sorted(_by_measure(of_task, columns).items())
    ]


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _task(row: Row) -> tuple[str, str, str]:
    return row["model"], row["weights"], row["task"]


def _alike(row: Row, other: Row, columns: Sequence[str]) -> bool:
    """Whether a row is of another one's model and task, and measured as it is."""
    if row["status"] == "failed" or _task(row) != _task(other):
        return False
    return all(_text(row.get(name)) == _text(other.get(name)) for name in columns)


def _by_measure(rows: Sequence[Row], columns: Iterable[str]) -> dict[str, list[Row]]:
    """Own rows by what differs in their measure; published ones go with the first, for they are of none."""
    own = [row for row in rows if row["source"] == ""]
    differing = [name for name in columns if len({_text(row.get(name)) for row in own}) > 1]
    parts = defaultdict(list)
    for row in own:
        parts[", ".join(f"{name}={short(_text(row.get(name)))}" for name in differing)].append(row)
    if published := [row for row in rows if row["source"] != ""]:
        parts[next(iter(parts), "")] += published
    return parts


def _text(value: Any) -> str:
    return "unset" if value is None or pd.isna(value) else str(value)


def _group(name: tuple[str, str, str], measured: str, rows: Sequence[Row], searched: Sequence[Row], failed: int) -> Group:
    configurations, of_search = _configurations(rows), _configurations(searched)
    unvalidated = len(rows) - sum(len(one.rows) for one in configurations)
    varied = _varied([*configurations, *of_search])
    return Group(*name, measured, configurations, unvalidated, failed, varied, of_search)


def _configurations(rows: Sequence[Row]) -> list[Configuration]:
    """Of the rows with a validation score of their own."""
    by_key = defaultdict(list)
    for row in rows:
        if row["source"] == "" and not math.isnan(row["validation"]):
            by_key[(*setting_key(row), row["variant"], row["lr"])].append(row)
    rank = {variant: place for place, variant in enumerate(in_order(row["variant"] for row in rows))}
    configurations = [Configuration(sorted(cells, key=lambda row: row["seed"])) for cells in by_key.values()]
    return sorted(configurations, key=lambda one: (rank[one.variant], one.lr, one.axis("rank")))


def _varied(configurations: Sequence[Configuration]) -> frozenset[str]:
    """The axes and options that are not the same in all."""
    said: list[dict[str, Any]] = [one.options | {axis: one.axis(axis) for axis in AXES} for one in configurations]
    keys = {key for words in said for key in words}
    return frozenset(key for key in keys if len({words.get(key) for words in said}) > 1)
