"""Command lines that nobody would write: a plan, or one line and code 2. `make bench-fuzz` draws as many as one likes."""

import operator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.fuzz.answers import GOOD, Writes, of_code
from benchmarks.fuzz.cells import cells, checked
from benchmarks.fuzz.trials import fuzz, on_command_line
from benchmarks.fuzz.words import commands

SECONDS = 120.0
"""That a command may take, beside other tests too."""


@pytest.fixture(scope="module")
def answered():
    """What words of a command line are answered, in this process."""
    return partial(on_command_line, seconds=SECONDS, writes=Writes())


def test_drawn_command_lines(answered):
    report = fuzz(commands(), answered, count=165, number=0)
    assert report.failures == {} and report.outcomes.total() == 165


def test_drawn_cells():
    report = fuzz(cells(), partial(checked, seconds=SECONDS), count=335, number=0)
    assert report.failures == {}
    assert set(report.outcomes) == set(GOOD)  # some are plans: not all of it is nonsense


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hydra.verbose=-3"], "Hydra cannot work with hydra.verbose=-3 (AssertionError"),
        (["--shell-completion"], "Hydra cannot work with --shell-completion plan=true (ValueError: Expecting one subcommand"),
        (["hydra.overrides.task.x=1"], "Hydra cannot work with hydra.overrides.task.x=1 (ValueError: "),
        (["-m", "hydra.launcher._target_=x"], "Hydra cannot work with hydra.launcher._target_=x (RuntimeError: Invalid plugin"),
        (["-m", "hydra.sweeper._target_=hydra_plugins.X"], "Hydra cannot work with hydra.sweeper._target_=hydra_plugins.X"),
        (
            ["hydra/sweeper=search", "+hydra.sweeper.report._partial_=false"],
            "hydra.sweeper.report._partial_ is there already: write hydra.sweeper.report._partial_=VALUE, without +",
        ),
        (["+lr=1e-3"], "lr is there already: write lr=VALUE, without +"),
        (["-m", "hydra/sweeper=search"], "hydra.sweeper.method has no value; give it in its yaml, or as hydra.sweeper.method="),
        (["probe@_here_=1"], "probe@_here_=1 does not exist; available: hessian, none"),
        (["hydra/sweeper@_global_=2"], "hydra/sweeper@_global_=2 does not exist; available: gp, grid"),
        (["hydra.run.dir\n=1"], r"cannot read hydra.run.dir\n=1 ("),
        (["model.path=\x18]"], r"cannot read model.path=\x18]: quotes are missing"),
        (["lr=" + "9" * 5000], "lr=9999"),
        (["model.architecture.model_type={}"], "model=tiny: model.architecture.model_type={} is none of transformers'"),
        (["model.architecture.num_hidden_layers=2147483648"], "model=tiny: num_hidden_layers=2147483648 is more than the 1000"),
        (["probe._target_=" + "a" * 250], "probe=none: _target_=aaa"),
    ],
    ids=lambda value: value[0][:40].encode("unicode_escape").decode() if isinstance(value, list) else "",
)
def test_each_kind_that_was_a_traceback(answered, words, line):
    ended = answered((*words, "plan=true"))
    assert ended.outcome == "refused" and ended.detail.startswith(line), ended


def test_a_place_that_cannot_be_written_is_refused(answered):
    assert answered(("output_dir=/nowhere/x", "plan=true")).outcome == "refused"


@pytest.mark.parametrize(
    ("code", "said", "outcome"),
    [
        (0, "a note\nand another\n", "answered"),
        (2, "lorabench: lr=x must be a number\n", "refused"),
        (2, "lorabench: a\nb\n", "lines"),
        (2, "", "lines"),
        (2, "lorabench: " + "x" * 2000 + "\n", "lines"),
        (2, "lorabench: \x1b[2J\n", "lines"),
        (1, "lorabench: a\n", "code"),
    ],
)
def test_what_is_said_is_judged(code, said, outcome):
    assert of_code(code, said).outcome == outcome


@pytest.mark.parametrize(
    ("outcome", "body"),
    [
        ("traceback", partial(operator.truediv, 1)),  # of no file
        ("wrote", lambda configs: Path("elsewhere").touch()),
        ("hang", lambda configs: endless()),
    ],
)
def test_what_a_command_does_wrong_is_seen(monkeypatch, outcome, body):
    monkeypatch.setattr("lorabench.cells.plan.preflight", body)
    assert on_command_line(("plan=true",), 10.0, Writes()).outcome == outcome


def endless():
    while True:
        pass
