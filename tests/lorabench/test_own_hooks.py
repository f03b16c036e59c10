"""Every hook of every base class, overridden in a class of one's own: what returns nothing or raises is one line.

The hooks are read off the base classes, so that a new one is tried as soon as it is there.
"""

import importlib
import itertools
import json
import re
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, ItemsView, Iterable, Iterator
from pathlib import Path

import pytest

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.contributed import own_frames, reason
from lorabench.generation.base import Generator
from lorabench.hooks import misfit
from lorabench.probes.base import Probe
from lorabench.subsets.base import Subset
from lorabench.tasks.base import Task
from lorabench.trackers.base import Tracker
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import Variant
from lorabench.variants.from_data import FromData
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=8", "batch_size=8", "task.test_samples=1", "task.validation_samples=2", "train_fraction=0.75"]
SMALL += ["task.max_new_tokens=1"]
BESIDE = """
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
"""
PARTS = {
    "variant": ("lorabench.variants.lora.LoRA", (Variant, Adapter, LoRA)),
    "variant from data": ("lorabench.variants.eva.EVA", (FromData,)),
    "task": ("lorabench.tasks.arithmetic.Arithmetic", (Task,)),
    "subset": ("lorabench.subsets.random.Random", (Subset,)),
    "evaluator": ("lorabench.generation.hf.HFGenerator", (Generator,)),
    "probe": ("beside.Looking", (Probe,)),
    "tracker": ("beside.Listing", (Tracker,)),
}
"""By the group of the config: what a class of one's own derives from, and the classes whose methods it may override."""

SETTINGS = {"probe": {"every": 1}, "variant from data": {"samples": 2}}
"""What such a class needs besides."""

MINE = """from {module} import {base}

calls = []


class Mine({base}):
"""
HOOK = """    {decorator}
    def {hook}(self, *args, **kwargs):
        calls.append("{hook}")
        {body}
"""
NUMBERS = itertools.count()
"""A name for each class, since a session keeps parts by their settings, and a cell of its own: some parts are in no id."""


def hooks(group: str) -> list[str]:
    """Public methods and properties."""
    members = {name: member for base in PARTS[group][1] for name, member in vars(base).items() if not name.startswith("_")}
    return sorted(name for name, member in members.items() if isinstance(member, types.FunctionType | property))


def is_property(group: str, hook: str) -> bool:
    return any(isinstance(vars(base).get(hook), property) for base in PARTS[group][1])


def allows_none(group: str, hook: str) -> bool:
    """Whether the base class says that the method may return nothing."""
    member = next(vars(base)[hook] for base in PARTS[group][1] if hook in vars(base))
    annotation = (member.fget if isinstance(member, property) else member).__annotations__["return"]
    return annotation is None or type(None) in typing.get_args(annotation)


ALL = [(group, hook) for group in PARTS for hook in hooks(group) if hook != "close"]  # which has a test of its own
RETURNING = [(group, hook) for group, hook in ALL if not allows_none(group, hook)]
LEAVING = [
    ("variant", "merged"),
    ("task", "score"),
    ("subset", "samples"),
    ("evaluator", "use"),
    ("probe", "measure"),
    ("tracker", "step"),
]


@pytest.fixture(scope="module")
def session():
    """One for all, whose model is loaded once and again after a failure."""
    return Session()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all: the untouched model is measured once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def own(session, tmp_path, monkeypatch):
    """A function from a cell, a part, the bodies of hooks and a name to a cell with such a class, and the hooks called."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(plain: Cell, part: str, bodies: dict[str, str], name: str) -> tuple[Cell, list[str]]:
        module, _, base = PARTS[part][0].rpartition(".")
        code = [MINE.format(module=module, base=base)]
        for hook, body in bodies.items():
            decorator = "@property" if is_property(part, hook) else "# a method"
            code.append(HOOK.format(decorator=decorator, hook=hook, body=body))
        (tmp_path / "beside.py").write_text(BESIDE)
        (tmp_path / "mine.py").write_text("".join(code))
        importlib.invalidate_caches()
        sys.modules.pop("mine", None)
        group = part.partition(" ")[0]
        node = {"_target_": "mine.Mine", "name": name} | SETTINGS.get(part, {})
        made = Cell(plain.config | {group: plain.config[group] | node}, session)
        return made, importlib.import_module("mine").calls

    yield make
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


@pytest.fixture
def part(own, cell, runs):
    """A function from a part, a hook and its body to a cell with such a class, and the list of its calls."""

    def make(part: str, hook: str, body: str) -> tuple[Cell, list[str]]:
        number = next(NUMBERS)
        plain = cell(*SMALL, f"output_dir={runs}", f"lr={1e-3 + 1e-6 * number}")
        return own(plain, part, {hook: body}, f"mine{number}")

    return make


def failure(made: Cell, capsys) -> str | None:
    """The line with which a cell fails, or its tracker; None where it is complete without a word."""
    capsys.readouterr()
    error = None
    try:
        run(made)
    except Exception as raised:
        error = raised
    records = [json.loads(file.read_text()) for file in Path(made.settings.output_dir).glob("*/record.json")]
    ends = {(record["status"], record["error"]) for record in records if record["config"] == made.recorded_config}
    if error is not None:
        assert own_frames(error), "a traceback"
        assert ends <= {("failed", reason(error))}  # none of one that fails before it begins
        return reason(error)
    assert ends == {("complete", None)}
    said = re.findall(r"tracker=\S+: (.*); tiny ", capsys.readouterr().err)
    return said[0] if said else None


@pytest.mark.parametrize(("group", "hook"), RETURNING, ids=lambda word: word)
def test_a_hook_that_returns_nothing_is_one_line(part, capsys, group, hook):
    made, calls = part(group, hook, "return None")
    line = failure(made, capsys)
    assert (line is not None) == bool(calls), line
    if line:
        assert re.fullmatch(rf"mine\.py:[78] in {hook}: Mine\.{hook}\(\) returned None; it must return \S.*", line)


@pytest.mark.parametrize(
    ("group", "hook", "error"),
    [*((*named, "KeyError('x')") for named in ALL), *((*named, "SystemExit(0)") for named in LEAVING)],
    ids=lambda word: word,
)
def test_a_hook_that_raises_is_one_line(part, capsys, group, hook, error):
    made, calls = part(group, hook, f"raise {error}")
    line = failure(made, capsys)
    assert (line is not None) == bool(calls), line
    if line:
        assert line.startswith(f"mine.py:10 in {hook}: {error.partition('(')[0]}: ")


@pytest.mark.parametrize("group", PARTS)
def test_hooks_that_return_what_their_base_class_does_change_nothing(own, cell, tmp_path, group):
    bodies = {name: f"return super().{name}" + "(*args, **kwargs)" * (not is_property(group, name)) for name in hooks(group)}
    scores = []
    for folder, overridden in (("plain", {"note": "return None"}), ("overridden", bodies)):
        made, calls = own(cell(*SMALL, f"output_dir={tmp_path / folder}"), group, overridden, f"{folder}{next(NUMBERS)}")
        validation = run(made)
        record = json.loads((made.folder / "record.json").read_text())
        assert record["status"] == "complete"
        scores.append((validation, record["training"]["loss"]))
    assert scores[0] == scores[1]
    assert calls


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("yield 'x'", "mine.py:8 in starts: Mine.starts() returned a generator with a str; it must return "),
        (
            "yield 'x', (None, None)",
            "mine.py:8 in starts: Mine.starts() returned a generator with a tuple with a tuple with None",
        ),
        ("raise SystemExit(0); yield", "mine.py:10 in starts: SystemExit: 0, which would end the whole command"),
    ],
)
def test_what_an_iterator_yields_is_checked_as_it_is_taken(part, capsys, body, line):
    made, calls = part("variant from data", "starts", body)
    assert failure(made, capsys).startswith(line)
    assert calls


@pytest.mark.parametrize(
    ("returned", "annotation"),
    [
        (len, Callable[[str], int]),
        (int, type[int]),
        ({"a": 1}.items(), ItemsView[str, int]),
        (Counter("a"), Counter[str]),
        (iter([1]), Iterator[str]),
        (iter([1]), Iterable[str]),
    ],
)
def test_only_containers_of_a_known_size_are_looked_into(returned, annotation):
    assert misfit(returned, annotation) is None
    assert misfit(None, annotation) == "None"
    if isinstance(returned, Iterator):
        assert next(returned) == 1


def test_a_generator_that_cannot_be_closed_harms_no_other_cell(part, cell, session, tmp_path, capsys):
    made, _ = part("evaluator", "close", "raise KeyError('x')")
    run(made)
    session.forget_base()
    assert "could not be closed: mine.py:10 in close: KeyError: 'x'" in capsys.readouterr().err
    session.forget_base()
    assert run(Cell(cell(*SMALL, f"output_dir={tmp_path}").config, session)) >= 0
    assert capsys.readouterr().err.count("could not be closed") == 0


def test_the_next_cell_is_what_it_is_alone(part, cell, session, tmp_path):
    """After a method has left its adapters, and its changes, in the model."""
    losses = []
    for folder in ("after", "alone"):
        if folder == "after":
            with pytest.raises(KeyError):
                run(part("variant", "merged", "raise KeyError('x')")[0])
        else:
            session.forget_base()
        made = Cell(cell(*SMALL, f"output_dir={tmp_path / folder}").config, session)
        run(made)
        losses.append(json.loads((made.folder / "record.json").read_text())["training"]["loss"])
    assert losses[0] == losses[1]
