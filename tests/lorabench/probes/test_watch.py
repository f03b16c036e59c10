"""Measurements along training: when they are taken, and what is kept of them."""

import os

import pytest

from lorabench.probes.watch import Watch, rows
from lorabench.training.loop import Training


def follow(file, total=5, every=2, key="a", measure=None, until=None):
    """Measure as a training run of so many steps would; return how often ``measure`` was called."""
    calls = []

    def counted():
        calls.append(1)
        return measure() if measure is not None else [{"lambda_max": float(len(calls))}]

    watch = Watch(every, file, key, counted, lambda training, total: None)
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


def test_what_is_measured_need_not_be_an_eigenvalue(tmp_path, capsys):
    file = tmp_path / "norms.jsonl"
    follow(file, measure=lambda: [{"norm": 1.0}, {"norm": 2.0}])
    assert rows(file)[0] == {"step": 0, "blocks": [{"norm": 1.0}, {"norm": 2.0}]}
    follow(tmp_path / "nothing.jsonl", measure=list, every=5)
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
        *(f"step {step}: 2 measured" for step in (0, 2, 4, 5)),
        *(f"step {step}: 0 measured" for step in (0, 5)),
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
