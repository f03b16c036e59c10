"""Every hook of every base class, overridden in a class of one's own: what returns nothing or raises is one line.

The hooks are read off the base classes, so that a new one is tried as soon as it is there.
"""

import importlib
import json
import sys
import types
import typing

import pytest

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.contributed import own_frames, reason
from lorabench.generation.base import Generator
from lorabench.generation.hf import HFGenerator
from lorabench.probes.base import Probe
from lorabench.subsets.base import Subset
from lorabench.subsets.random import Random
from lorabench.tasks.arithmetic import Arithmetic
from lorabench.tasks.base import Task
from lorabench.trackers.base import Tracker
from lorabench.variants.base import Variant
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=8", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "train_fraction=0.75"]
BESIDE = '''
from lorabench.probes.base import Probe
from lorabench.trackers.base import Tracker


class Looking(Probe):
    def check(self, variant, names, dtype): ...

    def measure(self, *arguments):
        return [{"lambda_max": 1.0}]


class Listing(Tracker):
    def start(self, cell): ...

    def step(self, step, metrics): ...

    def finish(self, record): ...
'''
PARTS = {
    "variant": ("lorabench.variants.lora.LoRA", (Variant, LoRA)),
    "task": ("lorabench.tasks.arithmetic.Arithmetic", (Task,)),
    "subset": ("lorabench.subsets.random.Random", (Subset,)),
    "evaluator": ("lorabench.generation.hf.HFGenerator", (Generator,)),
    "probe": ("beside.Looking", (Probe,)),
    "tracker": ("beside.Listing", (Tracker,)),
}
"""What a class of one's own derives from, and the classes whose methods it may override."""

MINE = """from {module} import {base}

calls = []


class Mine({base}):
    {decorator}
    def {hook}(self, *args, **kwargs):
        calls.append(args)
        {body}
"""
LINE = 8  # of its body


def hooks(group: str) -> list[str]:
    """Public methods and properties."""
    members = {name: member for base in PARTS[group][1] for name, member in vars(base).items() if not name.startswith("_")}
    return sorted(name for name, member in members.items() if isinstance(member, types.FunctionType | property))


def allows_none(group: str, hook: str) -> bool:
    """Whether the base class says that the method may return nothing."""
    member = next(vars(base)[hook] for base in PARTS[group][1] if hook in vars(base))
    annotation = (member.fget if isinstance(member, property) else member).__annotations__["return"]
    return annotation is None or type(None) in typing.get_args(annotation)


ALL = [(group, hook) for group in PARTS for hook in hooks(group)]


@pytest.fixture(scope="module")
def session():
    """One for all, whose model is loaded once and again after a failure."""
    return Session()


@pytest.fixture
def mine(cell, session, tmp_path, monkeypatch):
    """A function from a part, a hook and its body to a cell with such a class, and the list of its calls."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(group: str, hook: str, body: str) -> tuple[Cell, list]:
        path, bases = PARTS[group]
        module, _, base = path.rpartition(".")
        is_property = any(isinstance(vars(kind).get(hook), property) for kind in bases)
        code = MINE.format(module=module, base=base, decorator="@property" if is_property else "# a method", hook=hook, body=body)
        (tmp_path / "beside.py").write_text(BESIDE)
        (tmp_path / "mine.py").write_text(code)
        importlib.invalidate_caches()
        config = cell(*SMALL).config
        parts = {group: {"_target_": "mine.Mine"}}
        if group == "probe":
            parts[group] |= {"name": "mine", "every": 1}
        made = Cell(config | {name: config[name] | node for name, node in parts.items()}, session)
        return made, importlib.import_module("mine").calls

    yield make
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


def failure(made: Cell, capsys) -> str | None:
    """The line with which a cell fails, or its tracker; None where it is complete without a word."""
    capsys.readouterr()
    try:
        run(made)
    except Exception as error:
        assert own_frames(error), "a traceback"
        for record in made_records(made):
            assert (record["status"], record["error"]) == ("failed", reason(error))
        return reason(error)
    [record] = made_records(made)
    assert record["status"] == "complete"
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tracker=")]
    return said[0].removeprefix("tracker=none: ").rpartition(";")[0] if said else None


def made_records(made: Cell) -> list[dict]:
    return [json.loads(file.read_text()) for file in (made.folder.parent).glob("*/record.json")]


@pytest.mark.parametrize(("group", "hook"), ALL, ids=lambda word: word)
def test_a_hook_that_returns_nothing_is_one_line(mine, capsys, group, hook):
    made, calls = mine(group, hook, "return None")
    line = failure(made, capsys)
    assert (line is not None) == bool(calls and not allows_none(group, hook)), line
    if line:
        assert line.startswith(f"mine.py:{LINE - 2} in {hook}: Mine.{hook}() returned None; it must return ")
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize("error", ["KeyError('x')", "SystemExit(0)"])
@pytest.mark.parametrize(("group", "hook"), ALL, ids=lambda word: word)
def test_a_hook_that_raises_is_one_line(mine, capsys, group, hook, error):
    made, calls = mine(group, hook, f"raise {error}")
    line = failure(made, capsys)
    assert (line is not None) == bool(calls), line
    if line:
        assert line.startswith(f"mine.py:{LINE} in {hook}: {error.partition('(')[0]}: ")


def test_the_classes_that_are_tried_are_all_that_a_config_builds():
    assert {Arithmetic, HFGenerator, Random} and hooks("variant") and len(ALL) > 50
