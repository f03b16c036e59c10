"""Cells instead of command lines: the checks of a plan alone, twice as fast, and what a plan accepts run for real."""

import contextlib
import copy
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from benchmarks.fuzz.answers import Answer, Hang, Writes, answer, bounded, place
from benchmarks.fuzz.words import choices, composed, near, plain_values
from lorabench.cells.plan import preflight
from lorabench.cells.session import current
from lorabench.schema import CONF, register
from lorabench.terminal.mistakes import explain

PARTS = ("model", "task", "variant", "evaluator", "probe", "subset", "tracker")
SMALL = ["train_samples=8", "batch_size=4", "task.validation_samples=2", "task.test_samples=2", "device=cpu"]
"""What makes a cell short."""


@st.composite
def cells(draw: st.DrawFn) -> tuple[str, ...]:
    """Chosen parts, and up to three keys with other values."""
    words, keys = [], list(composed()[0])
    for group in draw(st.lists(st.sampled_from(PARTS), max_size=1)):
        name = draw(st.sampled_from(sorted(choices()[group])))
        words.append(f"{group}={name}")
        keys += [key for key in choices()[group][name] if key != group] * 9
    keys = [key for key in keys if key not in (*PARTS, "trainer", "plan", "output_dir")]
    for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)):
        words.append(f"{key}={draw(near(key) if draw(st.booleans()) else plain_values())}")
    return tuple(words)


@cache
def _composed(words: tuple[str, ...]) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [*words, "plan=true"])


def checked(words: Sequence[str], seconds: float) -> Answer:
    """What a plan of this cell comes to; words that Hydra itself refuses are refused.

    Args:
        words: chosen parts, and values that are set in their composed config, as sweepers do.
        seconds: that it may take.
    """
    parts = tuple(word for word in words if word.partition("=")[0] in PARTS)
    current.cache_clear()
    try:
        with bounded(seconds), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            config = copy.deepcopy(_composed(parts))
            for word in words:
                if word not in parts:
                    override = OverridesParser.create().parse_override(word)
                    if override.is_sweep_override():
                        return Answer("refused", "several values")
                    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            preflight([config])
    except Hang as over:
        return Answer("hang", place(over))
    except (Exception, SystemExit) as error:
        line = explain(error, CONF)
        return (
            Answer("refused", line) if line else Answer("traceback", f"{type(error).__name__}: {place(error)}: {error!r:.150}")
        )
    return Answer("answered", "a plan")


def ran(words: Sequence[str], seconds: float, writes: Writes) -> Answer:
    """What a cell that was planned comes to, as small as the words leave it.

    Args:
        words: of the cell.
        seconds: that it may take.
        writes: watches over files.
    """
    given = {word.partition("=")[0] for word in words}
    small = [word for word in SMALL if word.partition("=")[0] not in given]
    folder = Path(tempfile.mkdtemp())
    try:
        ended = answer("lorabench", [*words, *small], folder, seconds, writes, None)
        errors = [str(record["error"]) for record in _records(folder) if record["status"] == "failed"]
    finally:
        shutil.rmtree(folder)
    if errors:
        return Answer("failed", errors[0][:300])
    return Answer("answered", "still training") if ended.outcome == "hang" else ended


def _records(folder: Path) -> Iterator[dict[str, object]]:
    for file in folder.glob("runs/*/record.json"):
        yield json.loads(file.read_text())
