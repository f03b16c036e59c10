"""The table of cells, and what each cell's own view shows: config, curves along training, completions."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.read.decisive import flat_options
from analysis.read.metrics import read_metrics
from analysis.report.samples import Samples, note
from analysis.stats.curves import setting_key

log = logging.getLogger(__name__)

POINTS = 100
"""Of a loss curve."""

BESIDE = ("started", "rescored", "lm_eval_version", "lm_eval_max_length")
"""Of a record: facts beside its config."""

SPLITS = ("test/", "validation/")
PLACE = ["model", "task", "rank", "batch_size", "train_samples", "epochs", "source"]
COLUMNS = ["id", "place", "setting", "variant", "lr", "seed", "n", "status", "test", "std", "validation", "seconds"]
LEFT_OUT = ("output_dir", "lr", "rank", "batch_size", "seed", "train_samples", "epochs")
"""Of a config: columns of the table, and a folder of the machine it ran on."""


def cells(frame: pd.DataFrame, settings: dict[tuple[Any, ...], int], variants: Sequence[str]) -> dict[str, Any]:
    """Every row of the frame, published and failed ones too.

    Args:
        frame: of `read.load.load_records`.
        settings: the number of each setting, by its key (`stats.curves.setting_key`); a failed cell has none.
        variants: numbered by their order.
    """
    number = {name: i for i, name in enumerate(variants)}
    own = [str(path) for path, source in zip(frame["path"], frame["source"], strict=True) if not source]
    samples, details = Samples(len(own)), _Details()
    places: dict[tuple[Any, ...], int] = {}
    rows, of_cells = [], []
    for row in frame.to_dict("records"):
        place = places.setdefault(tuple(_plain(row[key]) for key in PLACE), len(places))
        setting = None if row["status"] == "failed" else settings[setting_key(row)]
        numbers = [place, setting, number[row["variant"]]]
        values = [row[key] for key in ("lr", "seed", "n", "status", "test", "test_std", "validation")]
        rows.append([row["id"], *numbers, *values, _round(row["seconds"])])
        of_cells.append(None if row["source"] else details.of(Path(row["path"])) | {"answers": samples.of(row["path"])})
    common = details.common()
    return {
        "columns": COLUMNS,
        "places": [dict(zip(PLACE, key, strict=True)) for key in places],
        "rows": rows,
        "details": [detail and _own_facts(detail, common) for detail in of_cells],
        "common": common,
        "steps": [list(steps) for steps in details.steps],
        "problems": samples.problems,
        "samples": note(own, samples),
        "without_samples": samples.without,
    }


class _Details:
    """Reads records a second time, for what no table shows."""

    def __init__(self) -> None:
        self.steps: dict[tuple[int, ...], int] = {}
        self._seen: dict[str, Counter[str]] = {}
        self._count = 0

    def of(self, path: Path) -> dict[str, Any]:
        record = json.loads(path.read_text(encoding="utf-8"))
        self._count += 1
        facts = _optional(path, "config", _facts, record, {})
        for key, value in facts.items():
            self._seen.setdefault(key, Counter())[value] += 1
        training = record.get("training") or {}
        steps, loss = _optional(path, "training.loss", thin, training.get("loss") or [], ([], []))
        return {
            "facts": facts,
            "metrics": _optional(path, "metrics", _sets, record.get("metrics") or {}, {}),
            "further": _optional(path, "lm_eval", _further, record, {}),
            "groups": _optional(path, "training.groups", _groups, training.get("groups") or [], []),
            "training": {key: value for key, value in training.items() if isinstance(value, (int, float))},
            "finished": str(record.get("finished") or ""),
            "evaluation": _measurement(record, "evaluation", "seconds"),
            "scoring": _measurement(record, "evaluation", "scoring_seconds"),
            "base": _measurement(record, "base", "test"),
            "steps": self.steps.setdefault(tuple(steps), len(self.steps)),
            "loss": loss,
            "sharpness": _optional(path, "sharpness", _sharpness, record.get("sharpness") or [], []),
            "error": str(record["error"]) if record.get("error") else None,
        }

    def common(self) -> dict[str, str]:
        """What more than half of the cells share is written once."""
        most = {key: counts.most_common(1)[0] for key, counts in self._seen.items()}
        return {key: value for key, (value, count) in most.items() if 2 * count > self._count}


def _optional(path: Path, name: str, read: Callable[[Any], Any], value: Any, otherwise: Any) -> Any:
    """A damaged part, which nothing else needs, costs itself alone."""
    try:
        return read(value)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError):
        log.warning("left out %s of %s, which is damaged", name, path)
        return otherwise


def _facts(record: dict[str, Any]) -> dict[str, str]:
    facts = flat_options(record.get("config") or {}, leave_out=LEFT_OUT)
    for part in ("device", "versions", "git", "model", "data"):
        value = record.get(part) or {}
        facts |= flat_options(value if isinstance(value, dict) else {"name": str(value)}, prefix=f"{part} · ")
    facts |= flat_options({key: record[key] for key in BESIDE if record.get(key) is not None})
    metric = record.get("validation_metric") or {}
    facts |= {"optimizer": str(optimizer)} if (optimizer := (record.get("training") or {}).get("optimizer")) else {}
    return facts | ({"validation metric": str(metric["name"])} if "name" in metric else {})


def _sets(metrics: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores of each split by test set."""
    sets = {split: of_split.get("sets") or {} for split, of_split in metrics.items() if of_split}
    return {split: {name: dict(scores) for name, scores in of_split.items()} for split, of_split in sets.items()}


def _further(record: dict[str, Any]) -> dict[str, float]:
    """Every metric that is not the score of a set."""
    metrics = read_metrics(record)
    return {name: metric.value for name, metric in metrics.items() if name.count("/") != 1 or not name.startswith(SPLITS)}


def _groups(groups: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Name, peak learning rate and number of values of each parameter group; nothing where there is one."""
    rows = [[str(group["name"]), float(group["lr"]), int(group["parameters"])] for group in groups]
    return rows if len(rows) > 1 else []


def _measurement(record: dict[str, Any], part: str, key: str) -> float | None:
    value = (record.get(part) or {}).get(key)
    return value if isinstance(value, (int, float)) else None


def _own_facts(detail: dict[str, Any], common: dict[str, str]) -> dict[str, Any]:
    """Facts that are not the common ones; None where a cell has no such key."""
    facts = detail["facts"]
    own = {key: value for key, value in facts.items() if common.get(key) != value}
    return detail | {"facts": own | {key: None for key in common if key not in facts}}


def thin(curve: Sequence[Sequence[float]], points: int = POINTS) -> tuple[list[int], list[float]]:
    """Last step and mean of at most so many runs of equal length; a run with a value that is not finite has none."""
    length = math.ceil(len(curve) / points) or 1
    steps, means = [], []
    for start in range(0, len(curve), length):
        part = curve[start : start + length]
        values = [math.nan if value is None else float(value) for _, value in part]
        steps.append(int(part[-1][0]))
        means.append(float(f"{sum(values) / len(values):.4g}"))
    return steps, means


def _sharpness(rows: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Step, then the lowest, median and highest λmax of the blocks measured at it."""
    points = []
    for row in rows:
        values = [block["lambda_max"] for block in row.get("blocks", []) if block.get("lambda_max") is not None]
        if values:
            points.append([int(row["step"]), *(float(f"{value:.4g}") for value in np.quantile(values, [0, 0.5, 1]))])
    return points


def _plain(value: Any) -> Any:
    """None for all kinds of NA, which are not equal to themselves as a key."""
    return None if value is None or pd.isna(value) else value.item() if hasattr(value, "item") else value


def _round(seconds: float) -> float:
    return seconds if math.isnan(seconds) else round(seconds, 1)
