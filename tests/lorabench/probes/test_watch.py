"""Measurements along training: when they are taken, what is kept of them, and what is refused before anything is trained."""

import os

import pytest
from omegaconf import OmegaConf

from hessian.along import Along
from lorabench import models, records, run
from lorabench.errors import UserError
from lorabench.plan import preflight
from lorabench.probe import Watch, rows
from lorabench.train import Training

SMALL = ["train_samples=24", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]


def follow(file, total=5, every=2, key="a", measure=None, until=None):
    """Measure as a training run of so many steps would; return how often ``measure`` was called."""
    calls = []

    def counted():
        calls.append(1)
        return measure() if measure else [{"lambda_max": float(len(calls))}]

    watch = Watch(every, file, key, counted, lambda done, total: None)
    for step in range(1, (until or total) + 1):
        watch(Training(steps=step), total)
    return len(calls)


def steps(file):
    return [row["step"] for row in rows(file)]


def test_before_every_so_many_and_after_the_last_step(tmp_path):
    file = tmp_path / "sharpness.jsonl"
    assert follow(file) == 4
    assert rows(file) == [
        {"step": step, "blocks": [{"lambda_max": value}]} for step, value in ((0, 1.0), (2, 2.0), (4, 3.0), (5, 4.0))
    ]


def test_a_run_that_goes_on_measures_what_is_missing(tmp_path):
    file = tmp_path / "sharpness.jsonl"
    follow(file, until=3)
    assert follow(file) == 2
    assert steps(file) == [0, 2, 4, 5]
    assert follow(file, every=5) == 0
    assert steps(file) == [0, 2, 4, 5]  # true of these steps still


def test_other_settings_or_another_start_are_not_mixed_in(tmp_path, capsys):
    file = tmp_path / "sharpness.jsonl"
    follow(file, measure=lambda: [{"lambda_max": 7.0}])
    assert follow(file, key="b", every=5) == 2
    assert [(row["step"], row["blocks"][0]["lambda_max"]) for row in rows(file)] == [(0, 1.0), (5, 2.0)]
    assert capsys.readouterr().err.count("dropped what was measured with other settings") == 1


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 30])
def test_a_line_that_was_cut_off_does_not_count(tmp_path, cut):
    file = tmp_path / "sharpness.jsonl"
    follow(file)
    file.write_text(file.read_text()[:-cut])
    assert steps(file) == ([0, 2, 4, 5] if cut == 1 else [0, 2, 4])
    follow(file)
    assert steps(file) == [0, 2, 4, 5]


def test_a_kill_while_writing_loses_nothing(tmp_path, monkeypatch):
    file = tmp_path / "sharpness.jsonl"
    follow(file, until=3)
    before = file.read_text()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            follow(file)
    assert file.read_text() == before


def test_weights_without_a_finite_eigenvalue_do_not_end_the_run(tmp_path, capsys):
    def measure():
        raise ArithmeticError("product 1 has NaN")

    file = tmp_path / "sharpness.jsonl"
    follow(file, measure=measure)
    assert rows(file)[-1] == {"step": 5, "blocks": [], "error": "product 1 has NaN"}
    assert "step 5: product 1 has NaN" in capsys.readouterr().err


def test_a_measurement_that_was_interrupted_is_made_up_for(cell, monkeypatch):
    """Killed while it measures after step 2, the run does not go on from behind it."""
    words = [*SMALL, "hessian.every=1", "trainer.checkpoint_minutes=0"]
    asked = []

    class Killed(BaseException):
        """Passes everything that handles a failure, as a kill does."""

    def measure(self, *_):
        asked.append(1)
        if len(asked) == 3:
            raise Killed
        return [{"lambda_max": 1.0}]

    monkeypatch.setattr(Along, "measure", measure)
    with pytest.raises(Killed):
        run.run(cell(*words))
    models.forget()
    run.run(cell(*words))
    assert [row["step"] for row in records.read(cell(*words).folder / "record.json")["sharpness"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(("changed", "kept"), [("hessian.samples=3", False), ("hessian.memory_gb=1", True)])
def test_a_run_that_goes_on_with_other_settings_keeps_what_is_comparable(cell, monkeypatch, changed, kept):
    words = [*SMALL, "hessian.every=1"]

    class Killed(BaseException):
        """Passes everything that handles a failure, as a kill does."""

    def measure(self, model, examples, *_):
        if self.memory_gb == 4 and self.samples == 32 and len(asked) == 2:
            raise Killed
        asked.append(len(examples))
        return [{"lambda_max": float(len(examples))}]

    asked = []
    monkeypatch.setattr(Along, "measure", measure)
    with pytest.raises(Killed):
        run.run(cell(*words))
    models.forget()
    run.run(cell(*words, changed))
    values = [row["blocks"][0]["lambda_max"] for row in records.read(cell(*words).folder / "record.json")["sharpness"]]
    assert values == [24.0 if kept else 3.0] * 4
    assert len(asked) == (4 if kept else 6)


@pytest.mark.parametrize("plan", ["true", "false"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hessian.every=0"], r"hessian.every=0 must be a whole number of at least 1"),
        (["hessian.every=2.5"], r"hessian.every=2.5 must be a whole number"),
        (["hessian.samples=1"], r"hessian.samples=1 must be a whole number of at least 2"),
        (["hessian.tol=0"], r"hessian.tol=0 must be greater than 0"),
        (["hessian.attention=flash"], r"hessian.attention=flash has no second derivative; available: math, eager"),
        (["hessian.matrices=qproj"], r"hessian.matrices: no adapter on 'qproj'; did you mean 'q_proj'"),
        (["variant.target_modules=[k_proj]"], r"hessian.matrices: no adapter on 'q_proj'; did you mean 'k_proj'"),
        (["hessian.matrices=[]"], r"hessian.matrices=\[\] and .* name no block"),
        (["hessian.layers=4"], r"hessian.layers: the model has no layer 4; available: 0 … 3"),
        (["hessian.layers=all"], r"hessian.layers: the model has no layer all; available: 0 … 3"),
        (["hessian.layers=[]"], r"hessian.layers=\[\] name no block; null means all layers"),
        (["model.dtype=bfloat16"], r"hessian.every: second derivatives need float32, not bfloat16; use model.dtype=float32"),
        (["+hessian.foo=1"], r"hessian=None: cannot build hessian.along.Along: .*foo"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(cell, words, message, plan):
    with pytest.raises(UserError, match=message) as raised:
        preflight([OmegaConf.create(cell("hessian.every=1", *words, f"plan={plan}").config)])
    assert "\n" not in str(raised.value)


def test_one_name_and_one_layer_need_no_list(cell):
    found = cell("hessian.every=1", "hessian.matrices=k_proj", "hessian.layers=3")
    found.check()
    assert found.probe._blocks(models.linear_shapes(found.model)) == {3: ["model.layers.3.self_attn.k_proj"]}


def test_too_few_samples_are_one_line(cell):
    with pytest.raises(UserError, match=r"fewer than two of the samples have a target token; raise hessian\.samples"):
        cell("hessian.every=1").probe.measure(None, [], 0, None, 0)


def test_a_finished_cell_says_that_it_measures_nothing(cell, capsys):
    run.run(cell(*SMALL))
    run.run(cell(*SMALL))
    assert "hessian" not in capsys.readouterr().err
    run.run(cell(*SMALL, "hessian.every=20"))
    assert "was finished with other hessian settings; delete it" in capsys.readouterr().err
