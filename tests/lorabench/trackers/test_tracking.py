"""Any tracker: what it is told, and that it can neither fail nor hold up nor change a cell."""

import json
import time

import pytest
from hydra import compose, initialize_config_dir

from lorabench.cells import run, stages
from lorabench.cells.cell import Cell
from lorabench.cells.checks import check
from lorabench.cells.plan import preflight
from lorabench.cells.session import Session, current
from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.trackers import following, wandb
from lorabench.trackers.base import TrackedCell, Tracker
from lorabench.trackers.summary import summary
from lorabench.training.loop import Training
from lorabench.training.schedule import lr_factor

SMALL = ["train_samples=40", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
MEASURED = {"seconds", "tokens_per_second", "scoring_seconds", "started", "finished", "peak_memory_bytes"}


class Recorder(Tracker):
    """Keeps what it is told; raises, or sleeps, where it is asked to."""

    def __init__(self, fails=(), every=1, timeout=30.0, sleeps=0.0):
        super().__init__("recorder", every, timeout)
        self.fails, self.sleeps, self.calls, self.steps, self.records = fails, sleeps, [], [], []

    def _called(self, method):
        self.calls.append(method)
        time.sleep(self.sleeps)
        if method in self.fails:
            raise OSError(f"{method} broke\nand said more")

    def start(self, cell):
        self._called("start")

    def step(self, step, metrics):
        self.steps.append((step, metrics))
        self._called("step")

    def finish(self, record):
        self.records.append(record)
        self._called("finish")


@pytest.fixture
def tracked(cell, monkeypatch):
    """A function from a tracker to a cell that it follows."""

    def make(tracker, *overrides):
        monkeypatch.setattr(Session, "tracker", lambda session, node: tracker)
        return cell(*SMALL, *overrides)

    return make


def record_of(cell):
    return json.loads((cell.folder / "record.json").read_text())


def unmeasured(value):
    """A record without times and memory."""
    if isinstance(value, dict):
        return {key: unmeasured(item) for key, item in value.items() if key not in MEASURED}
    return value


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    """The record of the same cell without a tracker."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        made = Cell.of(compose("config", [f"output_dir={tmp_path_factory.mktemp('untracked')}", *SMALL]), current())
    run.run(made)
    return unmeasured(record_of(made))


def test_it_is_told_every_step_and_the_record(tracked):
    tracker = Recorder()
    made = tracked(tracker)
    run.run(made)
    record = record_of(made)
    assert tracker.calls == ["start", *["step"] * 5, "finish"]
    losses, norms = (dict(record["training"][key]) for key in ("loss", "grad_norm"))
    for step, metrics in tracker.steps:
        lr = 3e-3 * lr_factor(step - 1, 5, made.trainer.warmup_ratio)
        assert metrics == {"loss": losses[step], "grad_norm": norms[step], "lr": lr}
    assert tracker.records == [record]
    run.run(tracked(again := Recorder()))
    assert again.calls == []  # the cell was done before


def test_every_so_many_steps_and_the_last(tracked):
    tracker = Recorder(every=2)
    run.run(tracked(tracker))
    assert [step for step, _ in tracker.steps] == [2, 4, 5]


@pytest.mark.parametrize("method", ["start", "step", "finish"])
def test_one_that_raises_gives_one_line_and_is_silent(tracked, capsys, untracked, method):
    tracker = Recorder(fails=[method])
    made = tracked(tracker)
    run.run(made)
    assert unmeasured(record_of(made)) == untracked
    assert tracker.calls.count(method) == 1 and tracker.calls[-1] == method
    lines = [line for line in capsys.readouterr().err.splitlines() if "tracker=" in line]
    assert lines == [f"tracker=recorder: test_tracking.py:37 in _called: OSError: {method} broke; {made} goes on without it"]


def test_one_that_hangs_holds_nothing_up(tracked, capsys, monkeypatch, untracked):
    monkeypatch.setattr(following, "GRACE", 0.0)
    made = tracked(Recorder(sleeps=60, timeout=0.1))
    started = time.monotonic()
    run.run(made)
    assert time.monotonic() - started < 55
    assert unmeasured(record_of(made)) == untracked
    assert "tracker=recorder: not done after 0.1 s" in capsys.readouterr().err


def test_an_interruption_passes_and_what_goes_on_is_told_from_the_first_step(tracked, run_until):
    tracker = Recorder()
    run_until(tracked(tracker, "trainer.checkpoint_minutes=0"), 3, KeyboardInterrupt)
    assert tracker.records == [None]
    made = tracked(again := Recorder(), "trainer.checkpoint_minutes=0")
    run.run(made)
    assert [step for step, _ in again.steps] == [1, 2, 3, 4, 5]
    assert [metrics["loss"] for _, metrics in again.steps] == [loss for _, loss in record_of(made)["training"]["loss"]]


def test_a_cell_that_only_had_to_be_scored_is_told_its_steps(tracked, monkeypatch):
    def down(*_):
        raise UserError("the judge is down")

    with monkeypatch.context() as patch:
        patch.setattr(run, "score_record", down)  # the untouched base has a scorer of its own
        with pytest.raises(UserError, match="judge is down"):
            run.run(tracked(first := Recorder()))
    assert first.records == [None]
    run.run(tracked(again := Recorder()))
    assert [step for step, _ in again.steps] == [1, 2, 3, 4, 5]
    assert again.records[0]["status"] == "complete"


def test_a_failed_and_a_diverged_cell_are_told(tracked, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(stages, "train", broken)
        with pytest.raises(RuntimeError, match="broken"):
            run.run(tracked(failed := Recorder()))
    assert summary(failed.records[0])["status"] == "failed"
    assert summary(failed.records[0])["error"].endswith(" in broken: RuntimeError: broken")
    monkeypatch.setattr(stages, "train", lambda *_, **__: Training(diverged=True))
    run.run(tracked(diverged := Recorder()))
    assert summary(diverged.records[0])["status"] == "diverged"
    assert summary(diverged.records[0])["test"] == 0


def test_the_tracker_is_neither_in_the_identity_nor_in_the_record(cell):
    plain, elsewhere = cell(*SMALL), cell(*SMALL, "tracker=wandb", "tracker.project=elsewhere")
    assert plain.id == elsewhere.id
    assert "tracker" not in elsewhere.recorded_config


def test_settings_that_cannot_be_are_refused_before_anything_is_trained(cell):
    with pytest.raises(UserError, match=r"tracker\.mode=ofline is unknown; available: online, offline"):
        check(cell("tracker=wandb", "tracker.mode=ofline"), resources=False)
    with pytest.raises(UserError, match=r"tracker\.every=0 must be greater than 0"):
        check(cell("tracker=wandb", "tracker.every=0"), resources=False)
    with pytest.raises(UserError, match=r"unknown key .tracker.projekt.; did you mean .project."):
        check(cell("tracker=wandb", "+tracker.projekt=a"), resources=False)


def test_summary_has_sets_costs_and_the_largest_sharpness():
    scores = {"mean": 0.5, "sets": {"gsm8k": {"score": 0.4}, "math": {"score": 0.6}}}
    record = {
        "status": "complete",
        "metrics": {"validation": {"mean": 0.25, "sets": {}}, "test": scores},
        "base": {"test": 0.1},
        "training": {"seconds": 3.0, "loss": [[1, 2.0]], "tokens_per_second": None},
        "sharpness": [{"step": 0, "blocks": [{"lambda_max": 2.0}, {"lambda_max": 5.0}]}, {"step": 2, "blocks": []}],
    }
    assert summary(record) == {
        "status": "complete",
        "validation": 0.25,
        "test": 0.5,
        "test/gsm8k": 0.4,
        "test/math": 0.6,
        "base/test": 0.1,
        "seconds": 3.0,
        "peak_lambda_max": 5.0,
    }


def test_what_a_tracker_remembers_is_for_those_of_its_kind(cell):
    session = Session()
    node = cell("tracker=wandb", "tracker.mode=offline").settings.tracker
    first = session.tracker(node)
    first.memory["down"] = True
    assert session.tracker(node | {"group": "another"}).memory == {"down": True}
    assert session.tracker(cell().settings.tracker).memory == {}
    assert Session().tracker(node).memory == {}


def test_each_group_has_its_rate(tmp_path):
    cell, recorder = TrackedCell("id", "label", {}, tmp_path, tmp_path), Recorder()
    follower = following.Following(recorder, cell)
    groups = [{"name": "lora_A"}, {"name": "lora_B"}]
    training = Training(steps=2, loss=[3.0, 2.0], grad_norm=[1.0, 1.0], lr=[[0.0, 0.0], [1e-3, 16e-3, 4e-3]], groups=groups)
    follower.on_step(lambda training, total: None)(training, 2)
    follower.finish(None)
    assert [metrics for _, metrics in recorder.steps] == [
        {"loss": 3.0, "grad_norm": 1.0, "lr/lora_A": 0.0, "lr/lora_B": 0.0},
        {"loss": 2.0, "grad_norm": 1.0, "lr/lora_A": 1e-3, "lr/lora_B": 16e-3, "lr/2": 4e-3},
    ]


def test_a_package_that_is_missing_is_one_line_before_anything_is_trained(tmp_path, monkeypatch):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"output_dir={tmp_path}", *SMALL, "tracker=wandb"])
    monkeypatch.setattr(wandb.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lorabench\[wandb\]'"):
        preflight([cfg])
    assert not list(tmp_path.glob("*/lock"))
