"""The form of a cell's record: values at dotted keys, and what the whole must be, or the reason in one line why it is none."""

import itertools
import json
import math
import sys
from collections.abc import Iterator
from reprlib import repr as short
from typing import Any
from unicodedata import category

from lorabench.files import digest

SCHEMA_VERSION = 2
"""Of the records that are written now; older ones are read, too."""

INT64 = 2**63 - 1
SMALLEST = math.ulp(0.0)
LARGEST = sys.float_info.max

PARTS = ("training", "evaluation", "versions", "git", "metrics", "identity", "base")
"""What must be an object where it is there."""

COSTS = {
    "training": ("seconds", "steps", "tokens", "peak_memory_bytes", "trainable_parameters"),
    "evaluation": ("seconds",),
}

AXES = ("lr", "batch_size", "rank", "seed", "train_samples", "epochs")
"""Keys of a config that its identity has unchanged."""

MADE = ("code", "config", "engine", "fingerprint", "include", "include_path", "judge_prompts", "references", "test", "train")
"""Keys of a part's identity that are not its config's, but made of it."""

SAME = 1e-6
"""Means that are further apart are two."""


class Newer(ValueError):
    """A later version wrote it."""


def get(record: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """The value at a dotted key."""
    value: Any = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"{key} is missing")
        value = value[part]
    # bool is a subclass of int: without this, `"seed": true` would pass as seed 1.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is {short(value)}")
    return value


def number(record: dict[str, Any], key: str, low: float, high: float, expected: str) -> float:
    """A number from `low` to `high`, which the error calls `expected`."""
    value = get(record, key, (int, float))
    if not low <= value <= high:  # refuses NaN, too, and what no float can hold
        raise ValueError(f"{key} is {short(value)}, not {expected}")
    return float(value)


def positive(record: dict[str, Any], key: str) -> float:
    """A finite number above 0."""
    return number(record, key, SMALLEST, LARGEST, "a positive number")


def name(record: dict[str, Any], key: str) -> str:
    """A text with something in it, and nothing that would break a line."""
    value: str = get(record, key, str)
    if not value.strip():
        raise ValueError(f"{key} is empty")
    if any(category(character) == "Cc" for character in value):
        raise ValueError(f"{key} is {short(value)}, with a control character")
    return value


def fraction(record: dict[str, Any], key: str) -> float:
    """A number from 0 to 1."""
    return number(record, key, 0, 1, "a fraction between 0 and 1")


def whole(record: dict[str, Any], key: str, low: int = 1) -> int:
    """An integer that 64 bits hold, at least `low`."""
    value: int = get(record, key, int)
    if not low <= value <= INT64:
        raise ValueError(f"{key} is {short(value)}, not a whole number from {low} to {INT64}")
    return value


def characters(tree: Any) -> None:
    """Check that all texts in a JSON value are text: an escape may stand for half a character."""
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate, which is no character, in its texts") from None


def part(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """The object at a key, empty where it is null or not there."""
    value = tree.get(key)
    if not isinstance(value, (dict, type(None))):
        raise ValueError(f"{key} is {short(value)}, not an object")
    return value or {}


def cost(record: dict[str, Any], part: str, key: str) -> float:
    """A number of 0 or more; NaN where it was not measured."""
    value = (record.get(part) or {}).get(key)
    return math.nan if value is None else number(record, f"{part}.{key}", 0, LARGEST, "a number of 0 or more")


def check_version(record: Any) -> None:
    """Raise ValueError unless it is an object of a schema that is read, `Newer` where that is to come."""
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}, not an object")
    version = get(record, "schema_version", int)
    if version > SCHEMA_VERSION:
        raise Newer(f"schema_version {version} is newer than {SCHEMA_VERSION}, which this version reads: update lorabench")
    if version < 1:
        raise ValueError(f"unknown schema_version {version}")


def check_record(record: Any, folder: str | None = None) -> None:
    """Check what a cell left.

    Args:
        record: parsed from JSON.
        folder: its name, which is the cell's id.

    Raises:
        Newer: a later version wrote it.
        ValueError: it is no record, or contradicts itself.
    """
    check_version(record)
    for key in PARTS:
        if not isinstance(record.get(key), (dict, type(None))):
            raise ValueError(f"{key} is a JSON {type(record[key]).__name__}, not dict")
    status = get(record, "status", str)
    if status not in ("complete", "diverged", "failed"):
        raise ValueError(f"unknown status {status!r}")
    check_named(record, folder)
    if status == "failed":
        if record.get("metrics"):
            raise ValueError("status is failed, but metrics has scores")
        return
    check_measured(record)
    _check_scores(record, status)


def check_named(record: dict[str, Any], folder: str | None) -> None:
    """Check what tells the cell from others: its axes, id, folder and identity."""
    _check_axes(record)
    own, identity, config = get(record, "id", str), record.get("identity"), record["config"]
    if folder not in (None, own):
        raise ValueError(f"id is {short(own)}, but its folder is {short(folder)}")
    if not identity:
        if record["status"] == "failed":
            return
        raise ValueError("identity.variant is missing")
    for key in ("variant", "task", "model", *(() if record["schema_version"] == 1 else ("trainer",))):
        get(record, f"identity.{key}", dict)
    for part in ("model", "task", "variant", "trainer", "evaluator"):
        _check_same(f"{part}.", config.get(part), identity.get(part))
    _check_same("", {key: config[key] for key in AXES if key in config}, identity)
    for key, default in (("data_seed", config["seed"]), ("train_fraction", 1)):
        stated, decides = (default if tree.get(key) is None else tree[key] for tree in (config, identity))
        if stated != decides and (key in config or key == "data_seed"):
            raise ValueError(f"config.{key} is {short(stated)}, but identity has {short(decides)}")
    if all(digest(each) != own for each in _as_hashed(identity)):
        raise ValueError(f"id is {short(own)}, but its identity has the hash {digest(identity)}")


def check_measured(record: dict[str, Any]) -> None:
    """Check what is known of a cell before it is scored: its model, its base, and what it cost."""
    for key in ("model.weights", "model.fingerprint"):
        get(record, key, str)
    if record["schema_version"] > 1:
        same = [("model.fingerprint", "identity.model.fingerprint"), ("data.fingerprint", "identity.task.fingerprint")]
        for one, other in same:
            if get(record, one, str) != get(record, other, str):
                raise ValueError(f"{one} is not {other}")
    for part, keys in COSTS.items():
        for key in keys:
            cost(record, part, key)
    for place, least in (("training", "seconds"), ("evaluation", "seconds")):
        get(record, f"{place}.{least}", (int, float))
    if record.get("base") is not None:
        fraction(record, "base.test")
    for key in record:
        if key.endswith(("_loss", "_loss_stderr")) and record[key] is not None:
            get(record, key, (int, float))


def check_split(tree: dict[str, Any], key: str) -> float:
    """The mean of a split at a dotted key, checked against those of its sets."""
    mean = fraction(tree, f"{key}.mean")
    sets = get(tree, key, dict).get("sets")
    if not isinstance(sets, dict | None):
        raise ValueError(f"{key}.sets is {short(sets)}")
    if not sets:
        return mean
    for of_set in sets:
        if not isinstance(sets[of_set], dict):
            raise ValueError(f"{key}.sets.{short(of_set)} is {short(sets[of_set])}")
    scores = [number(each, "score", 0, 1, f"a fraction between 0 and 1, in {key}.sets") for each in sets.values()]
    if abs(sum(scores) / len(scores) - mean) > SAME:
        raise ValueError(f"{key}.mean is {short(mean)}, but its sets have {sum(scores) / len(scores):.6g}")
    return mean


def _check_scores(record: dict[str, Any], status: str) -> None:
    """A status says whether there are scores, and which."""
    metrics, identity = record.get("metrics"), record["identity"]
    if status == "complete" and "test" not in (metrics or {}) and identity.get("train_fraction", 1) == 1:
        raise ValueError("metrics.test.mean is missing")
    if status == "complete" and "validation" not in (metrics or {}):
        raise ValueError("metrics.validation.mean is missing")
    means = {split: check_split(record, f"metrics.{split}") for split in metrics or {}}
    if status == "diverged" and any(means.values()) and _is_ours(identity["task"]):
        raise ValueError(f"status is diverged, but metrics has {short(max(means.values()))}")
    chosen, expected = fraction(record, "validation_metric.value"), means.get("validation", 0.0)
    if abs(chosen - expected) > SAME:
        raise ValueError(f"validation_metric.value is {short(chosen)}, but metrics.validation.mean is {short(expected)}")


def _check_axes(record: dict[str, Any]) -> None:
    for key in ("model.name", "task.name", "variant.name"):
        name(record, f"config.{key}")
    for key in ("rank", "batch_size"):
        whole(record, f"config.{key}")
    for key in ("lr", "epochs"):
        positive(record, f"config.{key}")
    whole(record, "config.seed", -INT64)
    if record["config"].get("train_samples") is not None:
        whole(record, "config.train_samples")
    place = "identity" if record["schema_version"] == 1 else "config"  # where a part of the samples is named
    if (record.get(place) or {}).get("train_fraction", 1) != 1:
        number(record, f"{place}.train_fraction", SMALLEST, 1, "a fraction above 0 and up to 1")
        name(record, f"{place}.subset.name")


def _check_same(place: str, config: Any, identity: Any) -> None:
    """Raise ValueError where both state a key otherwise; a class of one's own may make something of any of its keys."""
    if not isinstance(config, dict) or not isinstance(identity, dict):
        return
    for key in config.keys() & identity.keys() - set(MADE):
        one, other = config[key], identity[key]
        if isinstance(one, dict) or isinstance(other, dict):
            _check_same(f"{place}{key}.", one, other)
        elif one != other and (_is_ours(config) or key in ("_target_", "name")) and not _holds_parts(other):
            raise ValueError(f"config.{place}{key} is {short(one)}, but identity has {short(other)}")


def _is_ours(part: dict[str, Any]) -> bool:
    """Whether a part is of lorabench's own classes."""
    return str(part.get("_target_", "lorabench.")).startswith("lorabench.")


def _holds_parts(value: Any) -> bool:
    """Whether parts, whose identity says more than their config, are in a list."""
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _as_hashed(identity: dict[str, Any]) -> Iterator[Any]:
    """An identity as its id may have been made of it: JSON has null for a number that is not finite."""
    yield identity
    pieces = json.dumps(identity).split("null")
    for count in (1, 2):
        for places in itertools.combinations(range(len(pieces) - 1), count):
            for numbers in itertools.product(("Infinity", "-Infinity", "NaN"), repeat=count):
                words = dict(zip(places, numbers, strict=True))
                text = "".join(piece + words.get(i, "null") for i, piece in enumerate(pieces[:-1])) + pieces[-1]
                yield json.loads(text)
