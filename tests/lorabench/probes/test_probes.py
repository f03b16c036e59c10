"""A probe of one's own beside a cell: what it gets, what the record keeps of it, and that the result stays what it was."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from omegaconf import OmegaConf

from lorabench.cells.cell import Cell
from lorabench.cells.plan import preflight
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.probes.base import Probe
from lorabench.schema import KNOB

SMALL = ["train_samples=24", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
CALLS: list[int] = []
CHECKED: list[tuple] = []


class Killed(BaseException):
    """Passes everything that handles a failure, as a kill does."""


@dataclass(kw_only=True)
class Counter(Probe):
    """Measures the number of its examples; stops the process at a call."""

    version: ClassVar[int] = 1

    patience: int = 1
    memory_gb: int = field(default=4, metadata=KNOB)
    killed_at: int | None = field(default=None, metadata=KNOB)

    def check(self, variant, names, dtype):
        CHECKED.append((variant.name, len(names), dtype))
        if self.patience < 0:
            raise UserError(f"probe.patience={self.patience} must not be negative")

    def measure(self, model, variant, examples, pad, trainer, seed):
        CALLS.append(len(examples))
        if len(CALLS) == self.killed_at:
            raise Killed
        return [{"lambda_max": float(len(examples)), "variant": variant.name, "seed": seed}]


@pytest.fixture
def probed(cell):
    """A function from fields of the probe to a cell that it looks at, each as in a process of its own."""
    node = {"_target_": f"{__name__}.Counter", "name": "counter", "every": 1, "samples": 32}

    def make(*overrides, **fields):
        CALLS.clear()
        CHECKED.clear()
        made = cell(*SMALL, *overrides)
        return Cell(made.config | {"probe": node | fields}, made.session)

    return make


def measured(cell):
    return [(row["step"], row["blocks"][0]["lambda_max"]) for row in cell.record()["sharpness"]]


def test_the_record_keeps_its_rows_and_the_result_is_as_without_it(cell, probed, tmp_path):
    plain = cell(*SMALL, f"output_dir={tmp_path / 'plain'}")
    run(plain)
    made = probed("seed=0", every=2)
    run(made)
    assert measured(made) == [(0, 24.0), (2, 24.0), (3, 24.0)]
    assert made.record()["sharpness"][0]["blocks"] == [{"lambda_max": 24.0, "variant": "lora", "seed": 0}]
    assert made.id == plain.id
    for key in ("loss", "grad_norm", "lr"):
        assert made.record()["training"][key] == plain.record()["training"][key]
    assert "sharpness" not in plain.record()


def test_it_is_asked_first_whether_it_can(probed, capsys):
    run(probed("model.dtype=auto"))
    assert CHECKED[0][:2] == ("lora", 28)
    assert CHECKED[0][2] in ("float32", "bfloat16")  # what the device makes of auto
    preflight([OmegaConf.create(probed("model.dtype=auto", "plan=true").config)])
    assert CHECKED == [("lora", 28, "auto")]  # no device need be at hand


@pytest.mark.parametrize("plan", ["true", "false"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every": 0}, r"probe.every=0 must be a whole number of at least 1, or null for never"),
        ({"every": 2.5}, r"probe.every=2.5 must be a whole number"),
        ({"patience": -1}, r"probe.patience=-1 must not be negative"),
        ({"foo": 1}, r"unknown key 'probe.foo'; available: every, "),
    ],
)
def test_what_it_cannot_measure_is_refused_before_anything_is_trained(probed, fields, message, plan):
    with pytest.raises(UserError, match=message) as raised:
        preflight([OmegaConf.create(probed(f"plan={plan}", **fields).config)])
    assert "\n" not in str(raised.value)


def test_fewer_samples_than_it_wants_are_said(probed, capsys):
    run(probed())
    assert "probe.samples=32: the cell has 24 training samples, all are used" in capsys.readouterr().err
    assert set(CALLS) == {24}
    run(made := probed("lr=2e-3", samples=5))
    assert measured(made) == [(step, 5.0) for step in range(4)]


def test_a_measurement_that_was_interrupted_is_made_up_for(probed):
    """Killed while it measures after step 2, the run does not go on from behind it."""
    made = probed("trainer.checkpoint_minutes=0", killed_at=3)
    with pytest.raises(Killed):
        run(made)
    made.session.forget_base()
    run(again := probed("trainer.checkpoint_minutes=0"))
    assert [step for step, _ in measured(again)] == [0, 1, 2, 3]
    assert len(CALLS) == 2  # after steps 2 and 3


@pytest.mark.parametrize(("changed", "kept"), [({"samples": 3}, False), ({"patience": 2}, False), ({"memory_gb": 1}, True)])
def test_a_run_that_goes_on_with_other_settings_keeps_what_is_comparable(probed, changed, kept):
    made = probed(killed_at=3)
    with pytest.raises(Killed):
        run(made)
    made.session.forget_base()
    run(again := probed(**changed))
    assert measured(again) == [(step, 3.0 if "samples" in changed else 24.0) for step in range(4)]
    assert len(CALLS) == (2 if kept else 4)


def test_a_finished_cell_says_that_it_measures_nothing(cell, probed, capsys):
    run(cell(*SMALL))
    run(cell(*SMALL))
    assert "probe" not in capsys.readouterr().err
    made = probed(every=20)
    run(made)
    assert f"{made.folder} was finished without a probe; delete it" in capsys.readouterr().err
    assert CALLS == []
    run(probed("lr=2e-3"))
    run(made := probed("lr=2e-3"))
    assert "delete it" not in capsys.readouterr().err
    run(made := probed("lr=2e-3", samples=5))
    assert f"{made.folder} was finished with another probe; delete it" in capsys.readouterr().err
    assert CALLS == []
