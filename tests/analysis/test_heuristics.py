"""Rules of practice on grids whose truth is known."""

import math
from types import SimpleNamespace

import pytest

from analysis.bests import bests
from analysis.correlation import Estimate
from analysis.heuristics import changes, exponents, findings, suggested, text, tuning_gains
from analysis.load import load_records

LRS = [1e-4 * 2**i for i in range(12)]


def grid(
    write, batch_exponent=0.5, rank_exponent=-0.5, variants=("lora", "pissa", "dora"), ranks=(4, 16), batches=(8, 32, 128)
):
    """Peaks at lr = 1e-3 · (batch/32)^a · (rank/4)^b, lower by 1 point with each doubling of the batch away from 32."""
    for variant in variants:
        for rank in ranks:
            for batch in batches:
                best = 1e-3 * (batch / 32) ** batch_exponent * (rank / 4) ** rank_exponent
                top = 0.8 - 0.01 * abs(math.log2(batch / 32)) + 0.02 * math.log2(rank / 4)
                for lr in LRS:
                    score = max(top - 0.05 * math.log2(lr / best) ** 2, 0.0)
                    write(variant, lr, 0, score, config={"batch_size": batch, "rank": rank})


def test_exponents_are_those_of_the_grid(runs, write):
    grid(write)
    best = bests(load_records(runs), over=())
    found, expected = exponents(best, "batch_size"), [0.5] * 6
    assert {one.cluster for one in found} == {("tiny", "arithmetic")}
    assert [one.value for one in found] == pytest.approx(expected, abs=0.01)
    # One step of the grid is a factor of 2.
    assert [one.value for one in exponents(best, "rank")] == pytest.approx([-0.5] * 9, abs=0.26)
    assert [one.value for one in changes(best, "rank")] == pytest.approx([2.0] * 9, abs=0.7)


def test_a_peak_at_the_edge_has_no_exponent(runs, write):
    grid(write, variants=("lora",), ranks=(4,), batches=(8, 32))
    frame = load_records(runs)
    assert len(exponents(bests(frame[frame["lr"] < 6e-4], over=()), "batch_size")) == 0


def test_tuning_gains_by_hand(runs, write):
    scores = {(1e-3, 8): 0.6, (1e-3, 16): 0.5, (1e-2, 8): 0.2, (1e-2, 16): 0.4}
    for (lr, batch), score in scores.items():
        write("lora", lr, 0, score, config={"batch_size": batch})
    ((data, lr, batch),) = tuning_gains(load_records(runs))
    assert data == ("tiny", "arithmetic")
    assert lr == pytest.approx(0.6 - (0.6 + 0.4) / 2)
    assert batch == pytest.approx(0.6 - (0.6 + 0.5) / 2)


def test_findings_have_intervals_over_groups_and_gaps_where_nothing_is_known(runs, write):
    grid(write)
    found = {one.what: one for one in findings(load_records(runs))}
    batch = found["exponent of best lr over batch size"]
    assert (batch.groups, batch.tasks) == (6, 1) and batch.estimate == pytest.approx((0.5, 0.5, 0.5))
    assert found["the first less the second"].estimate.low > 0
    duration = found["exponent of best lr over samples × epochs"]
    assert duration.groups == 0 and math.isnan(duration.estimate.value)


def test_the_next_sweep_is_around_the_best_and_reaches_beyond_an_edge(runs, write):
    for lr, lora, pissa in [(1e-4, 0.2, 0.9), (1e-3, 0.9, 0.5), (1e-2, 0.3, 0.1)]:
        write("lora", lr, 0, lora)
        write("pissa", lr, 0, pissa)
    found = {line.split("variant=")[1].split()[0]: (lrs, line) for _, lrs, line in suggested(load_records(runs))}
    assert found["lora"][0][2] == pytest.approx(1e-3) and len(found["lora"][0]) == 5
    assert len(found["pissa"][0]) == 7 and found["pissa"][0][4] == pytest.approx(1e-4)
    assert "model=tiny task=arithmetic variant=lora rank=8 batch_size=16 lr=3.162e-4" in found["lora"][1]


def test_text_has_every_finding_and_command(runs, write):
    grid(write, ranks=(4,), batches=(8, 32))
    frame = load_records(runs)
    shown = text(findings(frame), suggested(frame))
    assert "python -m lorabench -m model=tiny task=arithmetic variant=dora" in shown
    assert all(one.what in shown for one in findings(frame)) and "nan" not in shown


def test_a_next_sweep_keeps_what_the_best_cell_was_trained_with(runs, write):
    for alpha, score in ((8, 0.5), (16, 0.9)):
        for lr in (1e-4, 1e-3, 1e-2):
            write("lora", lr, 0, score, config={"variant": {"name": "lora", "alpha": alpha}, "epochs": 2})
    lines = [line for _, _, line in suggested(load_records(runs))]
    assert [line.partition(" variant.")[2] for line in lines] == [
        "alpha=16 train_samples=2400 epochs=2", "alpha=8 train_samples=2400 epochs=2"
    ]  # fmt: skip


def test_the_rule_of_sharpness_is_a_gap_without_blocks_and_the_slope_with_them(runs, write, monkeypatch):
    write()
    frame = load_records(runs)
    shown = text(findings(frame), suggested(frame))
    assert "λmax needs records of python -m hessian" in shown
    one = SimpleNamespace(title="tiny · arithmetic", slope_alike=Estimate(-0.5, -0.9, -0.1))
    monkeypatch.setattr("analysis.sharpness.compare", lambda cells, blocks: [one])
    (found,) = [each for each in findings(frame, frame) if "λmax" in each.what]
    assert found.estimate == one.slope_alike and found.groups == 1
    monkeypatch.setattr("analysis.sharpness.compare", lambda cells, blocks: [one] * 3)
    (found,) = [each for each in findings(frame, frame) if "λmax" in each.what]
    assert found.estimate == pytest.approx((-0.5, -0.5, -0.5)) and found.groups == 3
