"""One record.json → one row, checked: a record that cannot be trusted is refused with a reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
PART = ("train_fraction", "subset")
AXES = ("lr", "batch_size", "rank", "seed", "train_samples", "epochs")
"""Top-level config keys that are axes of a sweep, besides the names of model, task and variant."""

PARTS = {"training": dict, "evaluation": dict, "versions": dict, "git": dict, "metrics": dict, "identity": dict}
"""What must be of this type where it is there."""


def read_row(path: Path) -> dict[str, Any]:
    """Read one record.

    Returns:
        `id`, `path`, `finished` (ISO time), `status`; the axes `model`, `task`, `rank`, `batch_size`, `train_samples`
        (None: all), `epochs`, `variant`, `lr`, `seed`; `train_fraction` (1: no proxy) and `subset`, how it was chosen; the
        scores `test` and `validation` and the base model's `base_test`, fractions 0..1 (0 for a diverged cell, NaN for an
        unmeasured base and the test of a proxy); `seconds` of training; `weights` and their `fingerprint`;
        and, as flat dicts of text, `variant_options` and `setting_options`: what else is in the record's `identity`, that is,
        everything that decides a result. A failed cell, which may have ended before anything was loaded, has the axes and
        NaN scores only. `source` is "", which published cells have; `n`, the seeds behind the row, is 1 and `test_std` NaN.
        What it cost: `steps`, `tokens`, `peak_memory` (bytes), `parameters` (trainable), `evaluation_seconds`, and where:
        `device`, `versions` (text) and `commit`; `problems`, the test problems by which `test` was measured.

    Raises:
        OSError: if the file cannot be read.
        ValueError: with a reason in one line, if it is not a valid record.
    """
    record = _parse(path)
    _check_version(record)
    for key, kind in PARTS.items():
        if not isinstance(record.get(key), (kind, type(None))):
            raise ValueError(f"{key} is a JSON {type(record[key]).__name__}, not {kind.__name__}")
    status = _get(record, "status", str)
    if status not in ("complete", "diverged", "failed"):
        raise ValueError(f"unknown status {status!r}")
    row = {"id": _get(record, "id", str), "path": str(path), "finished": str(record.get("finished")), "status": status}
    row |= {"source": "", "n": 1, "test_std": math.nan} | _axes(record) | _part(record)
    if status == "failed":
        return row | {"test": math.nan, "validation": math.nan, "seconds": math.nan}
    tested = row["train_fraction"] == 1 or "test" in _get(record, "metrics", dict)
    return row | {
        # Divergence is a result of the learning rate, not a missing value: it scores 0.
        "test": math.nan if not tested else 0.0 if status == "diverged" else _fraction(record, "metrics.test.mean"),
        "validation": 0.0 if status == "diverged" else _fraction(record, "metrics.validation.mean"),
        "base_test": math.nan if record.get("base") is None else _fraction(record, "base.test"),
        "seconds": _cost(record, "training", "seconds"),
        "steps": _cost(record, "training", "steps"),
        "tokens": _cost(record, "training", "tokens"),
        "peak_memory": _cost(record, "training", "peak_memory_bytes"),
        "parameters": _cost(record, "training", "trainable_parameters"),
        "evaluation_seconds": _cost(record, "evaluation", "seconds"),
        "problems": _problems(record),
        "device": _device(record),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted((record.get("versions") or {}).items())),
        "commit": str((record.get("git") or {}).get("commit") or ""),
        "weights": _get(record, "model.weights", str),
        "fingerprint": _get(record, "model.fingerprint", str),
        "variant_options": flat_options(_get(record, "identity.variant", dict), leave_out=("name",)),
        "setting_options": flat_options(_get(record, "identity", dict), leave_out=(*AXES, "variant", *PART)),
    }


def _parse(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON, half-written? ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}, not an object")
    return record


def _check_version(record: dict[str, Any]) -> None:
    version = _get(record, "schema_version", int)
    if version > SCHEMA_VERSION:
        raise ValueError(f"schema_version {version} is newer than {SCHEMA_VERSION}, which this version reads: update lorabench")
    if version < SCHEMA_VERSION:
        raise ValueError(f"unknown schema_version {version}")


def _axes(record: dict[str, Any]) -> dict[str, Any]:
    all_samples = _get(record, "config", dict).get("train_samples") is None
    return {
        "model": _get(record, "config.model.name", str),
        "task": _get(record, "config.task.name", str),
        "rank": _get(record, "config.rank", int),
        "batch_size": _get(record, "config.batch_size", int),
        "train_samples": None if all_samples else _get(record, "config.train_samples", int),
        "epochs": _positive(record, "config.epochs"),
        "variant": _get(record, "config.variant.name", str),
        "lr": _positive(record, "config.lr"),
        "seed": _get(record, "config.seed", int),
    }


def _part(record: dict[str, Any]) -> dict[str, Any]:
    """The part of its samples that a cell saw, and how it was chosen: everything, in records that do not say."""
    identity = record.get("identity") or {}
    if "train_fraction" not in identity:
        return {"train_fraction": 1.0, "subset": "all"}
    fraction, subset = _positive(record, "identity.train_fraction"), _get(record, "identity.subset", dict)
    options = flat_options(subset, leave_out=("name", "_target_"))
    name = _get(record, "identity.subset.name", str)
    return {"train_fraction": fraction, "subset": " ".join([name, *(f"{k}={v}" for k, v in options.items())])}


def _get(record: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    """The value at a dotted key."""
    value: Any = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"{key} is missing")
        value = value[part]
    # bool is a subclass of int: without this, `"seed": true` would pass as seed 1.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}")
    return value


def _cost(record: dict[str, Any], part: str, key: str) -> float:
    """NaN where it was not measured."""
    value = (record.get(part) or {}).get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _problems(record: dict[str, Any]) -> float:
    """NaN where it is not known."""
    test = (record.get("metrics") or {}).get("test")
    sets = test.get("sets") if isinstance(test, dict) else None
    if not sets:
        return math.nan
    if not isinstance(sets, dict):
        raise ValueError(f"metrics.test.sets is {sets!r}")
    counts = [each.get("n") if isinstance(each, dict) else None for each in sets.values()]
    known = [n for n in counts if isinstance(n, int)]
    return float(sum(known)) if len(known) == len(counts) else math.nan


def _device(record: dict[str, Any]) -> str:
    device = record.get("device")
    return (
        " ".join(str(device[key]) for key in ("type", "name") if device.get(key))
        if isinstance(device, dict)
        else str(device or "")
    )


def _positive(record: dict[str, Any], key: str) -> float:
    value = float(_get(record, key, (int, float)))
    if not 0 < value < math.inf:
        raise ValueError(f"{key} is {value!r}, not a positive number")
    return value


def _fraction(record: dict[str, Any], key: str) -> float:
    value = float(_get(record, key, (int, float)))
    if not 0 <= value <= 1:  # refuses NaN, too
        raise ValueError(f"{key} is {value!r}, not a fraction between 0 and 1")
    return value


def flat_options(tree: dict[str, Any], leave_out: tuple[str, ...] = (), prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` → `{"a.b": "1"}`, without the top-level keys in `leave_out`."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if key in leave_out:
            continue
        if isinstance(value, dict):
            flat |= flat_options(value, prefix=f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat
