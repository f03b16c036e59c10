"""A folder of block records, as `python -m hessian` leaves them → one DataFrame, one row a block."""

import json
import logging
import math
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.options import write_out
from analysis.read.record import flat_options

log = logging.getLogger(__name__)

KIND = "hessian_block"
SCHEMA_VERSION = 1
SETTING = ["model", "task", "rank", "samples", "weights", "options"]
"""Columns within whose common values variants are compared."""

JOINT = -1
"""The layer of a block that holds the adapters of many matrices."""

REFERENCE = "lora"
"""The variant that the ratios in the records are relative to."""

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The order in which matrices are listed: that of the forward pass."""

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

NO_OPTIONS = ("variant", "name", "rank", "seed", "samples", "k", "trained", "rule", "precision")
"""Parts of a record's identity that are columns of their own, or that decide how exact λ is but not what it is."""


def load_blocks(directory: str | Path) -> pd.DataFrame:
    """Read every `directory/*.json` of kind `KIND`; JSON of another kind is none of ours and ignored.

    A record that cannot be trusted is left out with one warning line, as are all but one of several of one block: a converged
    one is kept before others, then that of the smallest `hessian.tol`, then the newest.

    Returns:
        One row a block: `SETTING` (`samples` is text, for it may be "auto"; `weights` is "pretrained" or "random"; `options`
        is the checkpoint, if λ is not that of the start, and what else sets apart records that are alike in the other
        columns), `variant` (with the options in which it was measured more than once: `lora alpha=16`), `matrix`, `layer`
        (`JOINT` for a block of many matrices), `layers` of the model, `fingerprint` of its weights, `seed`, `sequences` that λ
        was measured on, `lambda_max`, `lambda_min`, `stderr` of `lambda_max` from the data, `ratio`, `ratio_low`, `ratio_high`
        (NaN where one of the two λ is not positive, or of another state than the start), `converged`, `growth` (λ of the final
        eigenvectors over the first n sequences: dicts of `sequences`, `value`, `low`, `high`), `checkpoint` (None: the start),
        `general` (whether its layer is no (W + s·BA)x), `tol`, `finished`, `file`.

    Raises:
        AnalysisError: if the directory does not exist or holds no readable record.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise AnalysisError(f"{directory} is not a directory: pass the output_dir of python -m hessian (default: runs/hessian)")
    rows, skipped = [], 0
    for path in sorted(directory.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(record, dict) and record.get("kind") not in (None, KIND):
                continue
            rows.append(read_block(record) | {"file": str(path)})
        except (OSError, ValueError) as error:
            log.warning("skipped %s: %s", path, error)
            skipped += 1
    if not rows:
        unreadable = f" ({skipped} unreadable, see above)" if skipped else ""
        raise AnalysisError(
            f"no record of a block in {directory}{unreadable}: run python -m hessian with this output_dir first"
        )
    write_out(rows, "setting_options", "options", itemgetter(*SETTING[:-1], "checkpoint"))
    for row in rows:
        trained = [f"checkpoint {Path(row['checkpoint']).name}"] if row["checkpoint"] else []
        row["options"] = ", ".join([*trained, *filter(None, [row["options"]])])
    write_out(rows, "variant_options", "suffix", itemgetter(*SETTING, "variant"))
    frame = pd.DataFrame(rows)
    frame["variant"] = (frame["variant"] + " " + frame["suffix"]).str.rstrip()
    block = [*SETTING, "variant", "matrix", "layer", "seed"]
    # Of several records of a block the most exact one: a short look with a few products does not replace what is known.
    order = frame.assign(coarse=-frame["tol"]).sort_values(
        ["converged", "coarse", "finished"], kind="stable", na_position="first"
    )
    best = frame.loc[order.index].drop_duplicates(block, keep="last")
    for file in frame.loc[frame.index.difference(best.index), "file"]:
        log.warning("left out %s: a more exact or newer record of the same block is used", file)
    return best.drop(columns=["setting_options", "variant_options", "suffix"]).sort_values(block).reset_index(drop=True)


def blocks_of(runs: Path, asked: Path | None) -> tuple[pd.DataFrame | None, str]:
    """The blocks of a folder that was asked for, else of `runs/hessian`; or None, and why there are none.

    Raises:
        AnalysisError: of `load_blocks`, for the folder asked for. Of the other, nobody's wish, it is a warning.
    """
    if asked is not None:
        return load_blocks(asked), ""
    if not any((runs / "hessian").glob("*.json")):
        return None, ""
    try:
        return load_blocks(runs / "hessian"), ""
    except AnalysisError as error:
        log.warning("no sharpness: %s", error)
        return None, "no record of RUNS/hessian can be read"


def block_settings(frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each setting, as `{column: value}`, with its blocks."""
    for key, blocks in frame.groupby(SETTING):
        yield dict(zip(SETTING, key, strict=True)), blocks


def matrices_in_order(names: Iterable[str]) -> list[str]:
    """Known matrices in the order of `MATRICES`, then the others by name."""
    rank = {name: index for index, name in enumerate(MATRICES)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def block_hyperparameters(setting: dict[str, Any]) -> str:
    """`rank 8 · 500 samples`, with what else sets this setting apart."""
    parts = [f"rank {setting['rank']}", f"{setting['samples']} samples", setting["options"]]
    return " · ".join(part for part in parts if part)


def sequences(cells: pd.DataFrame) -> str:
    """`16 to 64 sequences`, or nothing where all blocks are of the same number."""
    low, high = cells["sequences"].min(), cells["sequences"].max()
    return f"{low:g} to {high:g} sequences" if low < high else ""


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
            raise ValueError(f"{key} is {value!r}" if key in record else f"{key} is missing")
        if key in ("lambda_max", "lambda_min") and not math.isfinite(record[key]):
            raise ValueError(f"{key} is {value}")
    identity, layer = record["identity"], record["layer"]
    # The name of a joint block tells which matrices it holds.
    matrix = record["matrix"] if layer is not None else str(identity.get("name", record["matrix"]))[:12].strip()
    ratio, fingerprint = record.get("ratio") or {}, str(identity.get("model"))
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
        "checkpoint": record.get("checkpoint"),
        "tol": _number((identity.get("rule") or {}).get("tol")),
        "general": record.get("path") == "AdapterHessian",
        "finished": str(record.get("finished")),
        "setting_options": flat_options(identity, leave_out=NO_OPTIONS),
        "variant_options": flat_options(identity.get("variant", {}), leave_out=("name",)),
    }


def _number(value: Any) -> float:
    """NaN for null, which stands for it in a record."""
    if value is not None and not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    return math.nan if value is None else float(value)
