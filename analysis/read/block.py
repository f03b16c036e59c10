"""One record of a Hessian block, as `python -m hessian` leaves it → one row, checked."""

import math
from reprlib import repr as short
from typing import Any

from analysis.read.decisive import flat_options
from analysis.read.form import LARGEST, characters, name, part

KIND = "hessian_block"
SCHEMA_VERSION = 1
JOINT = -1
"""The layer of a block that holds the adapters of many matrices."""

TYPES: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "task": str,
    "variant": str,
    "matrix": str,
    "layer": (int, type(None)),
    "layers": int,
    "rank": int,
    "seed": int,
    "lambda_max": (int, float),
    "lambda_min": (int, float),
    "converged": bool,
    "data": dict,
    "growth": list,
    "identity": dict,
}
"""What a record must have; more is in it."""

GROWTH = ("sequences", "value", "low", "high")
"""What λ of a part of the data must have."""

NO_OPTIONS = ("variant", "name", "rank", "seed", "samples", "k", "trained", "rule", "precision")
"""Parts of a record's identity that are columns of their own, or that decide how exact λ is but not what it is."""


def read_block(record: Any) -> dict[str, Any]:
    """One record as a row of `load_blocks`; raises ValueError with a reason in one line."""
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}, not an object")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {record.get('schema_version')!r}, this version reads {SCHEMA_VERSION}")
    for key, kind in TYPES.items():
        value = record.get(key)
        # bool is a subclass of int: without this, `"seed": true` would pass as seed 1.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{key} is {short(value)}" if key in record else f"{key} is missing")
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
            raise ValueError(f"{key} is {short(value)}")
        if kind is str:
            name(record, key)
    characters(record)
    for n in record["growth"]:
        if not isinstance(n, dict) or not all(key in n and _number(n[key]) is not None for key in GROWTH):
            raise ValueError(f"growth has {short(n)}")
    identity, layer = record["identity"], record["layer"]
    checkpoint = record.get("checkpoint")
    if not isinstance(checkpoint, (str, type(None))):
        raise ValueError(f"checkpoint is {short(checkpoint)}")
    # The name of a joint block tells which matrices it holds.
    matrix = record["matrix"] if layer is not None else str(identity.get("name", record["matrix"]))[:12].strip()
    ratio, fingerprint = part(record, "ratio"), str(identity.get("model"))
    kept = {key: record[key] for key in TYPES if key not in ("data", "identity")}
    return kept | {
        "matrix": matrix,
        "layer": JOINT if layer is None else layer,
        "samples": str(identity.get("samples", record.get("sequences"))),
        "weights": str(record.get("weights") or ("random" if fingerprint.startswith("random:") else "pretrained")),
        "fingerprint": fingerprint,
        "sequences": _number(record.get("sequences")),
        "stderr": _number(record["data"].get("stderr")),
        "ratio": _number(ratio.get("value")),
        "ratio_low": _number(ratio.get("low")),
        "ratio_high": _number(ratio.get("high")),
        "checkpoint": checkpoint,
        "tol": _number(part(identity, "rule").get("tol")),
        "general": record.get("path") == "AdapterHessian",
        "finished": str(record.get("finished")),
        "setting_options": flat_options(identity, leave_out=NO_OPTIONS),
        "variant_options": flat_options(part(identity, "variant"), leave_out=("name",)),
    }


def _number(value: Any) -> float:
    """NaN for null, which stands for it in a record."""
    if value is not None and (not isinstance(value, (int, float)) or abs(value) > LARGEST):
        raise ValueError(f"{short(value)} is not a number")
    return math.nan if value is None else float(value)
