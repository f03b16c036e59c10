"""Rules of practice on grids whose truth is known."""

import math
from types import SimpleNamespace

import pytest

from analysis.published import FOLDER as PUBLISHED
from analysis.questions.heuristics import changes, exponents, findings, gaps, text, tuning_gains
from analysis.questions.suggestions import suggestions
from analysis.read.load import load_records
from analysis.stats.bests import bests
from analysis.stats.student import Estimate

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
    slopes, expected = exponents(best, "batch_size"), [0.5] * 6
    assert {slope.cluster for slope in slopes} == {("tiny", "arithmetic")}
    assert [slope.value for slope in slopes] == pytest.approx(expected, abs=0.01)
    # One step of the grid is a factor of 2.
    assert [slope.value for slope in exponents(best, "rank")] == pytest.approx([-0.5] * 9, abs=0.26)
    assert [change.value for change in changes(best, "rank")] == pytest.approx([2.0] * 9, abs=0.7)


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


def test_findings_have_intervals_over_tasks_and_gaps_where_nothing_is_known(runs, write):
    grid(write)
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    batch = by_rule["exponent of best lr over batch size"]
    assert (batch.groups, batch.tasks, batch.reason) == (6, 1, "") and batch.estimate.value == pytest.approx(0.5)
    assert math.isnan(batch.estimate.low), "one task tells nothing of others"
    samples = by_rule["exponent of best lr over samples"]
    assert samples.groups == 0 and math.isnan(samples.estimate.value) and "no two curves differ" in samples.reason
    for task in ("code", "math"):
        grid(lambda *values, config, task=task: write(*values, config=config | {"task": {"name": task}}))
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    batch, first = by_rule["exponent of best lr over batch size"], by_rule["the first less the second"]
    assert (batch.groups, batch.tasks) == (18, 3) and batch.estimate == pytest.approx((0.5, 0.5, 0.5))
    assert first.estimate.low > 0


def duration(write, pairs):
    """Peaks at 1e-3 · epochs^0.5, 3 points higher with each doubling of the epochs, 1 with each of the samples."""
    for samples, epochs in pairs:
        best, top = 1e-3 * math.sqrt(epochs), 0.5 + 0.03 * math.log2(epochs) + 0.01 * math.log2((samples or 1600) / 400)
        for i in range(-8, 9):
            score = top - 0.05 * (i / 2 - math.log2(best / 1e-3)) ** 2
            write("lora", 1e-3 * 2 ** (i / 2), 0, max(score, 0.0), config={"train_samples": samples, "epochs": epochs})


@pytest.mark.parametrize("samples", [None, 800])
def test_epochs_are_an_axis_of_their_own_over_all_samples_too(runs, write, samples):
    duration(write, [(samples, 1), (samples, 2), (samples, 4)])
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    assert by_rule["exponent of best lr over epochs"].estimate.value == pytest.approx(0.5, abs=0.01)
    assert by_rule["points of the peak with each doubling of the epochs"].estimate.value == pytest.approx(3, abs=0.01)
    assert by_rule["points of the peak with each doubling of the samples"].groups == 0


def test_all_samples_are_an_unknown_number(runs, write):
    duration(write, [(400, 1), (800, 1), (None, 1)])
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    assert by_rule["points of the peak with each doubling of the samples"].estimate.value == pytest.approx(1, abs=0.01)
    assert by_rule["exponent of best lr over samples"].estimate.value == pytest.approx(0, abs=0.01)
    assert by_rule["exponent of best lr over epochs"].groups == 0


@pytest.mark.parametrize("rank", [0, -1])
def test_a_value_without_a_logarithm_is_no_part_of_an_axis(runs, write, rank):
    for value in (rank, 8):
        for lr, score in ((1e-4, 0.1), (1e-3, 0.9), (1e-2, 0.2)):
            write("lora", lr, 0, score, config={"rank": value})
    frame = load_records(runs)
    assert {finding.groups for finding in findings(frame) if finding.rule == "rank"} == {0}


def test_curves_that_learn_nothing_count_for_nothing(runs, write):
    for rank in (4, 8):
        for lr in LRS[:3]:
            write("lora", lr, 0, 0.0, config={"rank": rank})
    assert {finding.groups for finding in findings(load_records(runs)) if finding.rule == "rank"} == {0}


def test_a_gap_says_why(runs, write):
    grid(write, variants=("lora",), ranks=(4,), batches=(8, 32))
    frame = load_records(runs)
    lines = gaps(findings(frame[frame["lr"] < 6e-4]))
    assert any("over batch size: curves differ in that axis, but not two of them with a best" in line for line in lines)
    assert any("λmax: it needs records of python -m hessian" in line for line in lines)
    assert any("λmax: half a file." in line for line in gaps(findings(frame, None, "half a file")))


def test_text_has_every_finding_and_command(runs, write):
    grid(write, ranks=(4,), batches=(8, 32))
    frame = load_records(runs)
    shown = text(findings(frame), suggestions(frame))
    assert "python -m lorabench -m model=tiny task=arithmetic variant=dora" in shown
    assert all(finding.what in shown for finding in findings(frame)) and "nan" not in shown
    assert "0.50 [-]" in shown and "Below" not in shown
    sentences = (
        "groups: for points lost, grids of one variant and setting over learning rates and batch sizes; for λmax, comparisons"
    )
    assert sentences in " ".join(shown.split())


def test_the_rule_of_sharpness_is_a_gap_without_blocks_and_the_slope_with_them(runs, write, monkeypatch):
    write()
    frame = load_records(runs)
    shown = text(findings(frame), suggestions(frame))
    assert "over λmax: it needs records of python -m hessian" in shown
    comparison = SimpleNamespace(title="tiny · arithmetic", slope_alike=Estimate(-0.5, -0.9, -0.1))
    monkeypatch.setattr("analysis.questions.heuristics.compare", lambda cells, blocks: [comparison])
    (finding,) = [line for line in findings(frame, frame) if "λmax" in line.what]
    assert finding.estimate == comparison.slope_alike and finding.groups == 1
    three = [SimpleNamespace(title=title, slope_alike=comparison.slope_alike) for title in "abc"]
    monkeypatch.setattr("analysis.questions.heuristics.compare", lambda cells, blocks: three)
    (finding,) = [line for line in findings(frame, frame) if "λmax" in line.what]
    assert finding.estimate == pytest.approx((-0.5, -0.5, -0.5)) and finding.groups == 3


def test_the_published_cells_have_the_numbers_of_results():
    by_rule = {finding.what: finding for finding in findings(load_records(PUBLISHED))}
    sentences = {
        "points lost at a random lr tried, batch size at its best": (6.18, 4.46, 7.90),
        "points lost at a random batch size tried, lr at its best": (0.26, 0.03, 0.49),
        "exponent of best lr over batch size": (0.54, 0.43, 0.64),
        "exponent of best lr over rank": (-0.46, -0.73, -0.20),
        "points of the peak with each doubling of the rank": (0.55, -0.39, 1.49),
    }
    for what, numbers in sentences.items():
        assert by_rule[what].estimate == pytest.approx(numbers, abs=0.005), what


def test_curves_with_other_options_are_no_curves_of_one_axis(runs, write):
    """The batch size changes with alpha, so that nobody knows which of both moves the best learning rate."""
    for batch, alpha, best in ((8, 8, 2e-3), (32, 128, 2e-4)):
        for lr in (2e-5, 2e-4, 2e-3, 2e-2):
            config = {"batch_size": batch, "variant": {"name": "lora", "alpha": alpha}}
            write("lora", lr, 0, 0.9 if lr == best else 0.5, config=config)
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    assert by_rule["exponent of best lr over batch size"].groups == 0
    assert by_rule["points lost at a random lr tried, batch size at its best"].groups == 0


def test_an_alpha_that_grows_with_the_rank_is_of_that_axis(runs, write):
    for rank, best in ((8, 2e-3), (32, 2e-4)):
        for lr in (2e-5, 2e-4, 2e-3, 2e-2):
            write(
                "lora", lr, 0, 0.9 if lr == best else 0.5, config={"rank": rank, "variant": {"name": "lora", "alpha": 2 * rank}}
            )
    by_rule = {finding.what: finding for finding in findings(load_records(runs))}
    assert by_rule["exponent of best lr over rank"].groups == 1
