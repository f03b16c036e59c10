"""One record.json → one row, checked: a record that cannot be trusted is refused with a reason."""

import json
import math
from pathlib import Path
from reprlib import repr as short
from typing import Any

from analysis.read.decisive import flat_options, options
from analysis.read.form import INT64, check_record, cost, fraction, get
from analysis.read.metrics import read_metrics

ADAMW = "torch.optim.adamw.AdamW"
BEFORE = {"loft": "LoFTAdamW"}
"""By variant the optimizer of records from before they said it, where it was not AdamW."""


def read_row(path: Path) -> dict[str, Any]:
    """Read one record.

    Returns:
        `id`, `path`, `finished` (ISO time), `status`; the axes `model`, `task`, `rank`, `batch_size`, `train_samples`
        (None: all), `epochs`, `variant`, `lr`, `seed`; `train_fraction` (1: no proxy) and `subset`, how it was chosen; the
        scores `test` and `validation` and the base model's `base_test`, fractions 0..1 (0 for a diverged cell, NaN for an
        unmeasured base and the test of a proxy); `seconds` of training; `weights` and their `fingerprint`;
        and, as flat dicts of text, `variant_options` and `setting_options`: everything else that decides a result
        (`read.decisive`). A failed cell, which may have ended before anything was loaded, has the axes and
        NaN scores only. `source` is "", which published cells have; `n`, the seeds behind the row, is 1 and `test_std` NaN.
        What it cost: `steps`, `tokens`, `peak_memory` (bytes), `parameters` (trainable), `evaluation_seconds`, `extra_tflops`
        (of inference), and where: `device`, `versions` (text) and `commit`; `problems`, the test problems by which `test` was
        measured; `metrics`, all that was measured (`read.metrics.Metric` by name). `own_step`: whether other learning rates
        than the cell's, or another optimizer than AdamW, trained it.

    Raises:
        OSError: if the file cannot be read.
        ValueError: with a reason in one line, if it is not a valid record.
    """
    try:
        row = _row(_parse(path), path)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    trees = [row, row.get("variant_options", {}), row.get("setting_options", {})]
    words = [word for tree in trees for pair in tree.items() for word in pair]
    try:
        "".join(word for word in words if isinstance(word, str)).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate, which is no character, in its texts") from None
    return row


def _row(record: dict[str, Any], path: Path) -> dict[str, Any]:
    check_record(record)
    status = record["status"]
    row = {"id": get(record, "id", str), "path": str(path), "finished": str(record.get("finished")), "status": status}
    row |= {"source": "", "n": 1, "test_std": math.nan} | _axes(record) | _part(record)
    if status == "failed":
        return row | {"test": math.nan, "validation": math.nan, "seconds": math.nan}
    tested = row["train_fraction"] == 1 or "test" in get(record, "metrics", dict)
    return (
        row
        | options(record)
        | {
            # Divergence is a result of the learning rate, not a missing value: it scores 0.
            "test": math.nan if not tested else 0.0 if status == "diverged" else fraction(record, "metrics.test.mean"),
            "validation": 0.0 if status == "diverged" else fraction(record, "metrics.validation.mean"),
            "base_test": math.nan if record.get("base") is None else fraction(record, "base.test"),
            "seconds": cost(record, "training", "seconds"),
            "steps": cost(record, "training", "steps"),
            "tokens": cost(record, "training", "tokens"),
            "peak_memory": cost(record, "training", "peak_memory_bytes"),
            "parameters": cost(record, "training", "trainable_parameters"),
            "evaluation_seconds": cost(record, "evaluation", "seconds"),
            "extra_tflops": _extra_tflops(record),
            "problems": _problems(record),
            "metrics": read_metrics(record),
            "own_step": _own_step(record),
            "device": _device(record),
            "versions": ", ".join(f"{name} {version}" for name, version in sorted((record.get("versions") or {}).items())),
            "commit": str((record.get("git") or {}).get("commit") or ""),
            "weights": get(record, "model.weights", str),
            "fingerprint": get(record, "model.fingerprint", str),
        }
    )


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


def _axes(record: dict[str, Any]) -> dict[str, Any]:
    config = record["config"]
    names = {key: config[key]["name"] for key in ("model", "task", "variant")}
    numbers = {key: config[key] for key in ("rank", "batch_size", "seed")} | {"train_samples": config.get("train_samples")}
    return names | numbers | {key: float(config[key]) for key in ("lr", "epochs")}


def _part(record: dict[str, Any]) -> dict[str, Any]:
    """The part of its samples that a cell saw, and how it was chosen: everything, in records that do not say."""
    place = "identity" if record["schema_version"] == 1 else "config"  # where it is only if it is a part, and always
    if (record.get(place) or {}).get("train_fraction", 1) == 1:
        return {"train_fraction": 1.0, "subset": "all"}
    part = record[place]
    subset = flat_options(part["subset"], leave_out=("name", "_target_"))
    words = [part["subset"]["name"], *(f"{key}={value}" for key, value in subset.items())]
    return {"train_fraction": float(part["train_fraction"]), "subset": " ".join(words)}


def _extra_tflops(record: dict[str, Any]) -> float:
    """What inference takes above the base's: nothing with merged weights; NaN of a model that kept its adapter, or may have.

    Records that do not say are of merged weights, but for methods of PEFT, some of which keep theirs.
    """
    may_keep = "peft_type" in get(record, "config.variant", dict)
    return 0.0 if (record.get("evaluation") or {}).get("merged", not may_keep) is True else math.nan


def _problems(record: dict[str, Any]) -> float:
    """NaN where it is not known."""
    test = (record.get("metrics") or {}).get("test")
    sets = test.get("sets") if isinstance(test, dict) else None
    if not sets:
        return math.nan
    if not isinstance(sets, dict):
        raise ValueError(f"metrics.test.sets is {short(sets)}")
    counts = [of_set.get("groups", of_set.get("n")) if isinstance(of_set, dict) else None for of_set in sets.values()]
    counted = [n for n in counts if isinstance(n, int) and 0 < n <= INT64]
    return float(sum(counted)) if len(counted) == len(counts) else math.nan


def _own_step(record: dict[str, Any]) -> bool:
    training = record.get("training") or {}
    optimizer = training.get("optimizer") or BEFORE.get(record["config"]["variant"]["name"], ADAMW)
    groups = training.get("groups") or []
    rates = [group.get("lr") for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []
    return bool(optimizer != ADAMW or any(rate != record["config"]["lr"] for rate in rates))


def _device(record: dict[str, Any]) -> str:
    device = record.get("device")
    return (
        " ".join(str(device[key]) for key in ("type", "name") if device.get(key))
        if isinstance(device, dict)
        else str(device or "")
    )
