"""A next sweep for each variant: learning rates around the best there is, as overrides of `python -m lorabench`."""

import json
import logging
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from analysis.questions.overrides import NAME, is_shipped, overrides
from analysis.stats.curves import edge, group_rows, highest, same_lr, seed_means, setting_key
from analysis.style.palette import in_order

STEP = 10**0.25

log = logging.getLogger(__name__)


class Suggestion(NamedTuple):
    """Title (model and task), learning rates, and all overrides of a command."""

    title: str
    lrs: list[float]
    line: str


def suggestions(frame: pd.DataFrame) -> list[Suggestion]:
    """Two steps of `STEP` to each side of the best cell of each variant, model and task, four beyond an edge.

    The best is that of the highest mean validation score; of the highest test score where there are none, as of published
    cells. Everything but the learning rate is as it was there, with the seeds of that curve. A learning rate that was tried is
    written as it was, so that its cell is known as done. Of a config that no command can say there is a warning and no sweep.
    """
    best = {}
    for cells in group_rows(seed_means(frame), ["model", "task", "variant"]):
        validated = [cell for cell in cells if not math.isnan(cell["validation_mean"])]
        candidates, score = (validated, "validation_mean") if validated else (cells, "test_mean")
        chosen = candidates[highest([cell[score] for cell in candidates])]
        curve = sorted(cell["lr"] for cell in cells if setting_key(cell) == setting_key(chosen))
        best[chosen["model"], chosen["task"], chosen["variant"]] = chosen, edge(curve.index(chosen["lr"]), len(curve))
    recorded = _recorded(frame)
    sweeps = []
    for model, task in dict.fromkeys((model, task) for model, task, _ in best):
        of_task = (frame["model"] == model) & (frame["task"] == task)
        tried = sorted(set(frame.loc[of_task, "lr"]))
        for variant in in_order(name for *pair, name in best if pair == [model, task]):
            row, end = best[model, task, variant]
            steps = range(-4 if end in ("low", "both") else -2, (4 if end in ("high", "both") else 2) + 1)
            lrs = [_as_tried(row["lr"] * STEP**i, tried) for i in steps]
            curve = of_task & (frame["variant"] == variant) & (frame["status"] != "failed")
            seeds = sorted({cell["seed"] for cell in frame[curve].to_dict("records") if setting_key(cell) == setting_key(row)})
            try:
                sweeps.append(Suggestion(f"{model} · {task}", lrs, _line(row, lrs, seeds, _config(recorded.get(_cell(row))))))
            except (ValueError, OmegaConfBaseException) as error:
                log.warning("no sweep suggested for %r of %r · %r: %s", variant, model, task, str(error).partition("\n")[0])
    return sweeps


def _as_tried(lr: float, tried: Sequence[float]) -> float:
    """The learning rate tried that is meant, or four digits."""
    nearest = min(tried, key=lambda rate: abs(rate / lr - 1))
    return nearest if same_lr(nearest, lr) else float(f"{lr:.3e}")


def _exact(lr: float) -> str:
    """The fewest digits that are this number: `6.3246e-4`."""
    mantissa, exponent = next(text for digits in range(17) if float(text := f"{lr:.{digits}e}") == lr).split("e")
    return f"{mantissa}e{int(exponent)}"


def _line(row: dict[str, Any], lrs: Sequence[float], seeds: Sequence[int], config: dict[str, Any] | None) -> str:
    """Raises ValueError where no override can say it."""
    names = {key: row[key] for key in ("model", "task")} | {"variant": row["variant"].split()[0]}
    if strange := [name for name in names.values() if not NAME.fullmatch(name)]:
        raise ValueError(f"{strange[0]!r} is no name of a yaml")
    axes = {"rank": row["rank"], "batch_size": row["batch_size"], "lr": ",".join(map(_exact, lrs))}
    every = pd.isna(row["train_samples"])  # of published cells too, where nothing tells
    samples = {"train_samples": "null" if every else row["train_samples"]}
    of_seeds = {} if list(seeds) in ([0], [-1]) else {"seed": ",".join(map(str, seeds))}
    epochs = {} if row["epochs"] == 1 else {"epochs": f"{row['epochs']:g}"}
    words = [shlex.quote(f"{key}={value}") for key, value in (names | axes | of_seeds | samples | epochs).items()]
    options = [] if config is None else overrides(config)
    own = [] if all(is_shipped(group, name) for group, name in names.items()) else ["--config-dir", "DIR"]
    line = " ".join([*words, *options, *own])
    line.encode()  # raises for what no terminal can show
    return line


def _recorded(frame: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """A row with a record of each cell; published cells have none."""
    own = frame[(frame["source"] == "") & (frame["status"] != "failed")]
    rows: list[dict[Any, Any]] = own.to_dict("records")
    return {_cell(row): row for row in rows}


def _config(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The config of a row's record, with the data_seed of the group that the row stands in (`read.data_seeds`)."""
    if row is None:
        return None
    config: dict[str, Any] = json.loads(Path(row["path"]).read_text(encoding="utf-8"))["config"]
    if isinstance(data_seed := row.get("regrouped"), str):
        config["data_seed"] = None if data_seed == "unset" else int(data_seed)
    return config


def _cell(row: Any) -> tuple[Any, ...]:
    return *setting_key(row), row["variant"], row["lr"]
