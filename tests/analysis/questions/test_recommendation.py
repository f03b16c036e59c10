"""Recommendations: chosen by validation alone, each number against an independent one, and what is not known said."""

import gzip
import json
import shutil

import numpy as np
import pytest
from cell_records import decided
from scipy.stats import t, ttest_1samp, ttest_ind

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.questions.differences import differences
from analysis.questions.recommendation.answer import finalists, of_folders, recommendation
from analysis.questions.recommendation.configurations import Configuration
from analysis.questions.recommendation.defaults import parse
from analysis.questions.recommendation.form import as_json
from analysis.questions.recommendation.unknown import unknown
from analysis.questions.recommendation.words import sentences, text
from analysis.read.load import load_records
from lorabench.files import digest


def answers(runs, default=None, margin=0.01):
    return recommendation(load_records(runs, wide=True), parse(default) if default else None, margin)


def only(runs, default=None, margin=0.01):
    """The answer of a folder with one model and task; every sentence is short."""
    [answer] = answers(runs, default, margin)
    assert all(len(sentence.split()) < 25 for sentence in sentences(answer)), sentences(answer)
    return answer


def trees(runs, default=None):
    return json.loads(as_json(answers(runs, default), 0.01))["recommendations"]


@pytest.fixture
def sweep(write):
    """LoRA, DoRA and PiSSA with three seeds each, without completions; PiSSA is best on test, and not on validation."""
    for variant, lr, validation, tests in (
        ("lora", 1e-3, 0.70, (0.60, 0.62, 0.64)),
        ("lora", 2e-3, 0.78, (0.70, 0.73, 0.73)),
        ("lora", 4e-3, 0.00, (0.50, 0.55, 0.60)),
        ("dora", 1e-3, 0.70, (0.55, 0.56, 0.58)),
        ("dora", 2e-3, 0.84, (0.78, 0.83, 0.79)),
        ("dora", 4e-3, 0.75, (0.70, 0.71, 0.75)),
        ("pissa", 2e-3, 0.80, (0.90, 0.92, 0.88)),
    ):
        for seed, test in enumerate(tests):
            write(variant, lr, seed, test, validation=validation)


def test_the_choice_is_by_validation_and_the_numbers_are_welch_and_students(runs, sweep):
    answer = only(runs, "lr=1e-3,rank=8")
    assert (answer.chosen.variant, answer.chosen.lr, answer.chosen.seeds) == ("dora", 2e-3, [0, 1, 2])
    dora, lora, default = np.array([0.78, 0.83, 0.79]), np.array([0.70, 0.73, 0.73]), np.array([0.60, 0.62, 0.64])
    own = ttest_1samp(dora, 0).confidence_interval()
    assert (answer.score.low, answer.score.high) == pytest.approx(own)
    base = ttest_1samp(dora, 0.01)
    assert (answer.untouched.low, answer.untouched.high) == pytest.approx(np.array(base.confidence_interval()) - 0.01)
    of_default, of_tuned = (ttest_ind(dora, other, equal_var=False) for other in (default, lora))
    for comparison, welch, other in ((answer.default, of_default, default), (answer.tuned, of_tuned, lora)):
        assert comparison.value == pytest.approx(dora.mean() - other.mean())
        assert (comparison.low, comparison.high) == pytest.approx(welch.confidence_interval())
        assert comparison.how == "means" and comparison.score == pytest.approx(other.mean())
    p = sorted([(base.pvalue, "untouched"), (of_default.pvalue, "default"), (of_tuned.pvalue, "tuned")])
    holm = dict(zip([name for _, name in p], np.maximum.accumulate([3 * p[0][0], 2 * p[1][0], p[2][0]]), strict=True))
    for name, expected in holm.items():
        assert getattr(answer, name).p_different == pytest.approx(expected)
    runner_up = ttest_ind(dora, [0.90, 0.92, 0.88], equal_var=False)
    assert answer.runner_up.p_different == pytest.approx(runner_up.pvalue)  # not corrected


def test_the_paragraph_says_what_was_asked_for(runs, sweep):
    said = " ".join(sentences(only(runs, "lr=1e-3,rank=8")))
    for words in (
        "Use dora at lr 2e-3, rank 8.",
        "Its validation score, 84.0 %, is the best of 7 configurations with several seeds.",
        "On test, which chose nothing, it scores 80.0 %, 95 % interval 73.4 to 86.6 %, for new seeds, on these problems (3 seeds).",
        "The untouched model scores 1.0 %. The recommended one is better by 79.0 points, 95 % interval 72.4 to 85.6",
        "The default, lora at lr 1e-3, rank 8, scores 62.0 %. The recommended one is better by 18.0 points,",
        "LoRA at the best of the 3 learning rates it was tried at, lr 2e-3, rank 8, scores 72.0 %.",
        "What training's chance does is known from 3 seeds alone: 78.0 to 83.0 % on test.",
        "The runner-up is pissa at lr 2e-3, rank 8. On test, which chose nothing, it is better than the recommended one: -10.0",
    ):
        assert words in said, (words, said)


def paired(d):
    return ttest_1samp(d, 0).confidence_interval()


def write_base(path, scores):
    """Completions of the untouched base of a record, where `lorabench` keeps them."""
    path = decided(path, "trainer.max_length", 512)
    identity = json.loads(path.read_text())["identity"]
    parts = [identity["model"], identity["task"], identity["evaluator"], 512]
    file = path.parents[1] / "base" / f"{digest(parts)}.completions.jsonl.gz"
    file.parent.mkdir(exist_ok=True)
    with gzip.open(file, "wt") as lines:
        for i, score in enumerate(scores):
            row = {"split": "test", "set": "arithmetic", "id": f"test/{i}", "prompt": f"Q{i}?", "gold": str(i)}
            lines.write(json.dumps(row | {"completion": "?", "score": score}) + "\n")
    return file


def test_with_completions_all_is_paired_problem_by_problem(runs, answered, change):
    generator = np.random.default_rng(0)
    of_dora, of_lora, of_base = (generator.choice([0.2, 0.4, 0.7, 0.9], 30) for _ in range(3))
    base = {"test": float(of_base.mean()), "validation": 0.0}
    paths = [
        answered("dora", 2e-3, 0, of_dora.tolist(), validation=0.9, base=base),
        answered("lora", 2e-3, 0, of_lora.tolist(), validation=0.8, base=base),
    ]
    for path in paths:
        file = write_base(path, of_base.tolist())
    answer = only(runs)
    assert [one.how for one in (answer.untouched, answer.tuned)] == ["paired", "paired"]
    for comparison, other in ((answer.untouched, of_base), (answer.tuned, of_lora)):
        assert comparison.value == pytest.approx((of_dora - other).mean())
        assert (comparison.low, comparison.high) == pytest.approx(paired(of_dora - other))
    file.unlink()  # one seed and a fixed number: nothing tells the noise
    assert only(runs).untouched.how == "" and "nothing tells its noise" in " ".join(sentences(only(runs)))


def test_a_base_scored_by_another_rule_tells_nothing(runs, answered, change):
    """Completions that do not reproduce the record's score of the base are left."""
    for seed, score in ((0, 0.5), (1, 0.7)):
        path = answered("lora", 2e-3, seed, [score, 0.9, score, 0.3], base={"test": 0.25, "validation": 0.0})
        write_base(path, [1.0, 0.0, 1.0, 0.0])
    answer = only(runs)
    tests = np.array([0.55, 0.65])
    assert answer.untouched.how == "seeds"
    reach = t.ppf(0.975, 1) * tests.std(ddof=1) / np.sqrt(2)
    assert (answer.untouched.low, answer.untouched.high) == pytest.approx((0.35 - reach, 0.35 + reach))


def test_differences_are_those_of_the_table(runs, answered):
    generator = np.random.default_rng(1)
    for variant, share in (("lora", 0.5), ("dora", 0.7)):
        for seed in range(3):
            scores = (generator.random(40) < share).astype(float).tolist()
            answered(variant, 2e-3, seed, scores, validation=share)
    answer, [row] = only(runs), differences(load_records(runs)).to_dict("records")
    assert (answer.tuned.value, answer.tuned.low, answer.tuned.high) == (row["value"], row["low"], row["high"])
    assert answer.tuned.seeds_needed == row["seeds_needed"]


def of(*counts):
    return [Configuration([{"seed": seed} for seed in range(count)]) for count in counts]


@pytest.mark.parametrize(
    ("seeds", "kept"),
    [((1, 1), 2), ((3, 3, 1), 2), ((3, 1, 1), 1), ((5, 3, 3, 1), 3), ((5, 3, 1), 2), ((1,), 1), ((3, 3, 2), 2)],
)
def test_finalists_are_those_of_the_most_seeds(seeds, kept):
    assert len(finalists(of(*seeds))) == kept


def test_a_finalist_is_chosen_over_a_lucky_single_seed(runs, write):
    for seed in range(3):
        write("lora", 1e-3, seed, 0.7, validation=0.7)
        write("dora", 1e-3, seed, 0.8, validation=0.8)
    write("dora", 2e-3, 0, 0.9, validation=0.9)
    answer = only(runs)
    assert (answer.chosen.variant, answer.chosen.lr) == ("dora", 1e-3)
    said = unknown(answer)
    assert "Of 3 configurations, 2 have several seeds; the choice was made among 2." in said
    assert "On 1 seed alone, dora at lr 2e-3, rank 8 has a better validation score: 90.0 %." in said
    assert "Of the learning rates tried with dora, 1e-3 is the lowest: 5e-4 may be better." in said


def test_a_tie_goes_to_fewer_parameters(runs, write):
    write("lora", 1e-3, 0, 0.7, training={"trainable_parameters": 200})
    write("dora", 1e-3, 0, 0.7, training={"trainable_parameters": 100})
    write("pissa", 1e-3, 0, 0.7)
    assert only(runs).chosen.variant == "dora"


def test_one_cell_says_how_little_is_known(runs, write):
    write("lora", 2e-3, 0, 0.8, base=None)
    answer = only(runs, "lr=2e-3")
    said = " ".join(sentences(answer))
    for words in (
        "It is the only configuration tried; its validation score is 80.0 %.",
        "nothing tells the interval",
        "the default is already the best that was tried",
        "One seed only: what another one would give is not known.",
        "2e-3 is the only: 1.125e-3 and 3.557e-3 may be better.",
        "The untouched model was not measured.",
    ):
        assert words in said, (words, said)
    [tree] = trees(runs, "lr=2e-3")
    assert tree["default"]["same"] and tree["tuned_lora"] is None and tree["runner_up"] is None
    assert tree["untouched"] is None and tree["recommended"]["score"]["low"] is None


def test_all_diverged_recommends_nothing(runs, write):
    for seed in range(2):
        write("lora", 1.0, seed, status="diverged", metrics=None)
    answer = only(runs)
    assert sentences(answer)[:2] == ["Nothing can be recommended.", "All cells diverged: try lower learning rates."]
    [tree] = trees(runs)
    assert tree["recommended"] is None and len(tree["candidates"]) == 1 and tree["cells"]["diverged"] == 2


def test_finalists_that_diverged_do_not_stand_in_the_way(runs, write):
    for seed in range(3):
        write("dora", 1.0, seed, status="diverged", metrics=None)
    write("lora", 1e-3, 0, 0.6)
    answer = only(runs)
    assert answer.chosen.variant == "lora"
    assert "Of 4 cells, 3 diverged, and count as 0." in unknown(answer)


def test_a_seed_that_diverged_counts_as_nothing_and_is_said(runs, write):
    write("lora", 1e-3, 0, 0.8)
    write("lora", 1e-3, 1, status="diverged", metrics=None)
    answer = only(runs)
    assert answer.chosen.test == pytest.approx(0.4) and "1 of its 2 seeds diverged, and count as 0." in unknown(answer)


def test_failed_cells_are_counted(runs, write):
    write("lora", 1e-3, 0, 0.8)
    write("lora", 2e-3, 0, status="failed", error="out of memory", metrics=None)
    assert "Cells that failed, and are in no number: 1." in unknown(only(runs))


def test_two_tasks_are_two_paragraphs_and_a_default_may_lack_in_one(runs, write):
    write("lora", 1e-3, 0, 0.8)
    write("lora", 2e-3, 0, 0.7, config={"task": {"name": "math"}})
    first, second = answers(runs, "lr=1e-3")
    assert [one.group.task for one in (first, second)] == ["arithmetic", "math"]
    assert (first.default_missing, second.default_missing) == (False, True)
    assert "The default was not run here." in unknown(second)
    assert text([first, second]).count("Use lora") == 2


def test_scores_of_other_problems_are_not_compared(runs, write, change):
    write("lora", 1e-3, 0, 0.8)
    decided(write("dora", 1e-3, 0, 0.9), "task.fingerprint", "sha256:" + "c" * 64)
    assert [one.group.measured for one in answers(runs)] == [
        "task.fingerprint=sha256:bbbbbbbb",
        "task.fingerprint=sha256:cccccccc",
    ]
    assert [one.chosen.variant for one in answers(runs)] == ["lora", "dora"]


def test_published_cells_and_cells_without_validation_are_refused_in_one_line(capsys):
    assert main(["recommend", "analysis/published"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no cell has a validation score" in error


@pytest.mark.parametrize(
    ("default", "line"),
    [
        ("lr=9", "no record is of the default lora with lr=9: it was run at lr 1e-3, 2e-3, 4e-3; name another --default"),
        ("variant=vera,lr=1e-3", "no record is of the default vera with lr=1e-3: it was not run at all;"),
        ("lr", "--default lr is not KEY=VALUE"),
        ("lt=1e-3", "--default has no key 'lt': there are variant, lr, rank,"),
    ],
)
def test_a_default_that_is_not_there_is_one_line(runs, sweep, capsys, default, line):
    assert main(["recommend", str(runs), "--default", default]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_what_a_default_leaves_open_is_as_in_most_cells(runs, write):
    for rank, lrs in ((8, (1e-3, 2e-3)), (16, (1e-3, 2e-3, 4e-3))):
        for lr in lrs:
            write("lora", lr, 0, 0.5, config={"rank": rank})
    assert only(runs, "lr=1e-3").default.other is not None
    [answer] = answers(runs, "lr=1e-3")
    assert answer.default.other.axis("rank") == 16
    [answer] = answers(runs, "lr=0.001,rank=8")
    assert answer.default.how == "same" or answer.default.other.axis("rank") == 8


def test_overrides_say_what_varies(runs, write):
    write("lora", 1e-3, 0, 0.5)
    write("lora", 1e-3, 0, 0.6, config={"variant": {"name": "lora", "alpha": 16}})
    write("lora", 1e-3, 0, 0.7, config={"batch_size": 32, "train_samples": None})
    [tree] = trees(runs)
    assert [one["overrides"] for one in tree["candidates"]] == [
        {"variant": "lora", "lr": 1e-3, "rank": 8, "batch_size": 32, "train_samples": "null"},
        {"variant": "lora", "lr": 1e-3, "rank": 8, "batch_size": 16, "train_samples": 2400, "variant.alpha": "16"},
        {"variant": "lora", "lr": 1e-3, "rank": 8, "batch_size": 16, "train_samples": 2400},
    ]
    assert "Use lora at lr 1e-3, rank 8, batch size 32, samples all." in sentences(answers(runs)[0])


def test_a_damaged_record_is_left_out(runs, write, caplog):
    write("lora", 1e-3, 0, 0.8)
    write("dora", 1e-3, 0, 0.9).write_text('{"half')
    assert only(runs).chosen.variant == "lora" and "skipped" in caplog.text


def test_validation_that_cannot_tell_the_runner_up_apart_is_said(runs, write):
    """p(1 − p)/n of the fixture's sets: independent rows are 200."""
    for variant, validation in (("lora", 0.80), ("dora", 0.81)):
        write(variant, 1e-3, 0, 0.8, validation=validation)
    said = unknown(only(runs))
    assert "On validation, the runner-up is 1.0 points behind." in said
    stderr = 100 * np.sqrt(0.81 * 0.19 / 200)
    assert f"One validation score of 200 problems has a standard error of {stderr:.1f} points." in said


def test_a_clear_runner_up_is_not_named(runs, write):
    for seed in range(3):
        write("lora", 1e-3, seed, 0.3 + seed / 100, validation=0.3)
        write("dora", 1e-3, seed, 0.8 + seed / 100, validation=0.8)
    assert not any("runner-up" in sentence for sentence in unknown(only(runs)))


def test_a_likelihood_is_said_to_be_one(runs, write, change):
    path = write("lora", 1e-3, 0, 0.8)
    for split in ("validation", "test"):
        change(path, f"metrics.{split}.sets", {"likelihood": {"score": 0.8, "n": 200, "stderr": None}})
    said = unknown(only(runs))
    assert "The validation and test score is the likelihood of the texts: what the model writes was not judged." in said


def test_the_command_wraps_and_its_json_is_strict(runs, sweep, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["recommend", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny · arithmetic\nUse dora at lr 2e-3, rank 8.")
    assert max(map(len, printed.splitlines())) <= 70 and printed.count("\n\n") == 0
    assert main(["recommend", str(runs), "--format", "json", "--default", "lr=1e-3"]) == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    [one] = tree["recommendations"]
    assert one["recommended"]["overrides"] == {"variant": "dora", "lr": 2e-3, "rank": 8}
    assert all(record.startswith(str(runs)) for record in one["recommended"]["records"])
    assert [candidate["validation"] for candidate in one["candidates"]] == [0.84, 0.80, 0.78, 0.75, 0.70, 0.70, 0.00]
    assert one["configurations"] == {"tried": 7, "several_seeds": 7, "compared": 7}


def test_nothing_validated_is_an_error(runs, write, change):
    frame = load_records(runs, wide=True) if any(runs.iterdir()) else None
    assert frame is None
    write("lora", 1e-3, 0, 0.8)
    frame = load_records(runs, wide=True)
    frame["validation"] = float("nan")
    with pytest.raises(AnalysisError, match="no cell has a validation score"):
        recommendation(frame)


def test_equal_within_the_margin_is_said_so(runs, answered):
    """600 problems, of which a twentieth are solved by 1/15 more: other ones with each seed, so that seeds differ in nothing."""
    scores = np.tile([0.0, 0.5], 300)
    more = np.where(np.arange(600) % 20 == 0, 1 / 15, 0)
    gained = np.stack([np.roll(more, seed) for seed in range(2)])
    for seed in range(2):
        answered("lora", 2e-3, seed, scores.tolist(), validation=0.4)
        answered("dora", 2e-3, seed, (scores + gained[seed]).tolist(), validation=0.5)
        answered("pissa", 2e-3, seed, (scores + gained[seed]).tolist(), validation=0.45)
    low, high = 100 * np.array(paired(gained.mean(0)))
    said = " ".join(sentences(only(runs)))
    assert f"The recommended one is better, by less than 1 point: 0.3, 95 % interval {low:.1f} to {high:.1f}." in said, said
    assert "On test, it is within ±1 point of the recommended one: +0.0 points" in said, said


def test_seeds_that_one_side_has_alone_are_said(runs, answered):
    generator = np.random.default_rng(2)
    for variant, seeds in (("lora", 2), ("dora", 4)):
        for seed in range(seeds):
            answered(variant, 2e-3, seed, generator.choice([0.1, 0.6], 40).tolist(), validation=0.5 + (variant == "dora") / 5)
    said = unknown(only(runs))
    assert "The difference from the tuned LoRA is of the 2 seeds that both have." in said


def test_an_interval_beyond_none_that_holm_does_not_bear_out_says_p(runs, write):
    for variant, tests in (("lora", (0.60, 0.61, 0.62)), ("dora", (0.63, 0.64, 0.62))):
        for seed, test in enumerate(tests):
            write(variant, 1e-3, seed, test, validation=test, base={"test": 0.63, "validation": 0.0})
    answer = only(runs)
    assert answer.tuned.p_different > 0.05 > ttest_ind([0.63, 0.64, 0.62], [0.60, 0.61, 0.62], equal_var=False).pvalue / 2
    assert ("after Holm" in " ".join(sentences(answer))) == (answer.tuned.low > 0)


def test_full_fine_tuning_has_no_rank_and_a_method_of_peft_is_said_by_its_yaml(runs, write):
    write("full", 1e-3, 0, 0.9, config={"variant": {"name": "full", "weights": "matrices"}})
    write("peft-boft", 1e-3, 0, 0.8, config={"variant": {"name": "peft-boft", "peft_type": "BOFT", "rank": 8}})
    write("lora", 1e-3, 0, 0.5)
    assert sentences(only(runs))[0] == "Use full at lr 1e-3."
    [tree] = trees(runs)
    overrides = tree["candidates"][1]["overrides"]
    assert overrides["variant"] == "peft" and overrides["++variant.peft_type"] == "BOFT"


@pytest.mark.parametrize(("lrs", "end"), [((1e-3, 2e-3), "highest"), ((2e-3, 4e-3), "lowest"), ((2e-3,), "only one")])
def test_a_lora_at_the_edge_of_its_learning_rates_is_not_called_tuned(runs, sweep, lrs, end):
    for record in runs.glob("*/record.json"):
        config = json.loads(record.read_text())["config"]
        if config["variant"]["name"] == "lora" and config["lr"] not in lrs:
            shutil.rmtree(record.parent)
    words = " ".join(sentences(only(runs)))
    assert f"LoRA's 2e-3 is the {end} it was tried at" in words


def test_a_lora_between_its_learning_rates_is(runs, sweep):
    assert "it was tried at: tuned further" not in " ".join(sentences(only(runs)))


def test_learning_rates_are_counted_on_one_curve_alone(runs, write):
    """Ranks and options of a variant are curves of their own: the best one, of rank 32, was tried once."""
    for lr in (1e-3, 2e-3, 4e-3):
        write("lora", lr, 0, 0.5)
        write("lora", lr, 0, 0.4, config={"variant": {"name": "lora", "alpha": 16}})
    write("lora", 2e-3, 0, 0.6, config={"rank": 32})
    write("dora", 2e-3, 0, 0.7, config={"rank": 32})
    for lr in (1e-3, 4e-3):
        write("dora", lr, 0, 0.6)
    answer = only(runs)
    said = " ".join(sentences(answer))
    assert answer.gaps.lrs == [2e-3] and answer.gaps.edge == "both"
    assert "Of the learning rates tried with dora, rank 32, 2e-3 is the only: 1.125e-3 and 3.557e-3 may be better." in said
    assert "LoRA at the one learning rate it was tried at, lr 2e-3, rank 32, scores 60.0 %." in said
    assert "LoRA's 2e-3 is the only one it was tried at (rank 32): tuned further" in said


@pytest.fixture
def searched(runs, write, change):
    """The finalists with fresh seeds in RUNS, and in the folder beside it the search that chose them, with seed 0."""
    folder = runs.parent / "searched"

    def searched(variant, lr, validation, **config):
        path = write(variant, lr, 0, 0.99, validation=validation, config=config)
        return path.parent.rename(folder / path.parent.name) / path.name

    folder.mkdir()
    for lr, validation in ((1e-3, 0.99), (2e-3, 0.98), (4e-3, 0.97), (8e-3, 0.96)):
        searched("dora", lr, validation)
        searched("lora", lr, validation)
    searched("lora", 8e-3, 0.9, rank=32)
    searched("dora", 5e-4, 0.9, task={"name": "other"})
    decided(searched("dora", 5e-5, 0.9), "task.fingerprint", "sha256:" + "c" * 64)
    for seed in (1, 2, 3):
        write("dora", 1e-3, seed, 0.8 + seed / 100, validation=0.8)
        write("lora", 2e-3, seed, 0.7 + seed / 100, validation=0.7)
    return folder


def test_of_what_was_searched_only_what_was_tried_counts(runs, searched):
    [alone], [answer] = of_folders(runs), of_folders(runs, searched)
    assert answer.group.measured == ""
    without, tree = (json.loads(as_json([one], 0.01))["recommendations"][0] for one in (alone, answer))
    for name in ("cells", "recommended", "untouched", "tuned_lora", "runner_up", "candidates"):
        assert tree[name] == without[name], name
    said = " ".join(sentences(answer))
    for words in (
        "Its validation score, 80.0 %, is the best of 2 configurations with several seeds. "
        "Before that, it was chosen among 9 configurations of one seed each.",
        "LoRA at the best of the 4 learning rates it was tried at, lr 2e-3, rank 8, scores 72.0 %.",
        "Of the learning rates tried with dora, 1e-3 is the lowest: 5e-4 may be better.",
    ):
        assert words in said, (words, said)
    assert "tuned further" not in said and "tuned further" in " ".join(sentences(alone))
    assert all(len(sentence.split()) < 25 for sentence in sentences(answer))


def test_the_command_takes_what_was_searched_and_its_json_lists_none_of_it(runs, searched, capsys):
    assert main(["recommend", str(runs), "--searched", str(searched), "--format", "json"]) == 0
    printed = capsys.readouterr().out
    [tree] = json.loads(printed)["recommendations"]
    assert tree["configurations"] == {"tried": 9, "several_seeds": 2, "compared": 2}
    assert [one["seeds"] for one in tree["candidates"]] == [[1, 2, 3]] * 2
    assert tree["cells"] == {"complete": 6, "diverged": 0, "failed": 0, "unvalidated": 0}
    assert str(searched) not in printed


def test_a_configuration_that_was_not_searched_is_said_to_be_none_of_them(runs, searched, write):
    for seed in (1, 2, 3):
        write("pissa", 1e-3, seed, 0.9)
    again = write("lora", 1e-3, 1, 0.5)
    shutil.copytree(again.parent, searched / "again")  # a second seed of one of them
    [answer] = of_folders(runs, searched)
    assert answer.chosen.variant == "pissa"
    assert "It is none of those that were searched: 9 configurations of 1 to 2 seeds each." in sentences(answer)


def test_an_option_that_differs_from_the_search_alone_is_another_curve(runs, searched):
    for path in sorted(searched.glob("*/record.json")):
        decided(path, "variant.alpha", 16)
    [answer] = of_folders(runs, searched)
    assert answer.gaps.lrs == [1e-3] and answer.chosen.variant == "dora alpha=8"
    assert "It is none of those that were searched: 9 configurations of one seed each." in sentences(answer)


@pytest.mark.parametrize(("untouched", "better"), [(0.85, True), (0.84, False), (None, False)])
def test_where_the_untouched_model_is_better_on_validation_nothing_is_to_be_trained(runs, write, untouched, better):
    """Whatever it is on test, which chooses nothing."""
    for seed, test in enumerate((0.78, 0.83, 0.79)):
        base = {"test": 0.01} | ({} if untouched is None else {"validation": untouched})
        write("dora", 2e-3, seed, test, validation=0.84, base=base)
        write("lora", 2e-3, seed, test - 0.1, validation=0.7, base=base)
    lines = sentences(only(runs))
    [tree] = trees(runs)
    assert tree["untouched_better"] is better
    assert tree["recommended"]["overrides"]["variant"] == "dora"
    if better:
        assert lines[:2] == [
            "Train nothing: the untouched model is better, 85.0 % on validation, the best of what was tried 84.0 %.",
            "That best is dora at lr 2e-3, rank 8.",
        ]
        said = " ".join([*lines, *tree["unknown"]])
        assert "The best one tried is better by" in said and "recommended" not in said and "Use " not in said
    else:
        assert lines[0] == "Use dora at lr 2e-3, rank 8."


def test_the_tuned_lora_is_one_of_those_with_the_most_seeds(runs, write):
    """A lucky single seed does not stand in for LoRA where others of it have several."""
    for seed in range(3):
        write("lora", 1e-3, seed, 0.60 + seed / 100, validation=0.6)
        write("lora", 2e-3, seed, 0.70 + seed / 100, validation=0.7)
        write("dora", 1e-3, seed, 0.80 + seed / 100, validation=0.8)
        write("dora", 2e-3, seed, 0.75 + seed / 100, validation=0.75)
    write("lora", 4e-3, 0, 0.99, validation=0.99)
    assert only(runs).tuned.other.lr == 2e-3


def test_one_shared_seed_of_several_is_not_paired(runs, answered):
    """Two seeds of each that are not shared say more of new seeds than one that is; one of a single seed is all there is."""
    generator = np.random.default_rng(3)
    tests = {"dora": [], "lora": []}
    for variant, seeds, scores in (("dora", (0, 1), [0.6, 1.0]), ("lora", (1, 2), [0.1, 0.6])):
        for seed in seeds:
            of_seed = generator.choice(scores, 40)
            tests[variant].append(of_seed.mean())
            path = answered(variant, 2e-3, seed, of_seed.tolist(), validation=0.5 + (variant == "dora") / 5)
    tuned = only(runs).tuned
    assert (tuned.how, tuned.seeds, tuned.left_out) == ("means", 2, 0)
    welch = ttest_ind(tests["dora"], tests["lora"], equal_var=False).confidence_interval()
    assert (tuned.low, tuned.high) == pytest.approx(welch)
    shutil.rmtree(path.parent)
    tuned = only(runs).tuned
    assert (tuned.how, tuned.seeds, tuned.left_out) == ("paired", 1, 1)


@pytest.mark.parametrize(
    ("lrs", "beyond"),
    [
        ((1e-3, 2e-3, 4e-3), "8e-3"),
        ((1e-4, 1e-3, 1e-2), "1e-1"),
        ((3e-3, 3.5e-3, 4e-3), "7.113e-3"),
        ((2e-4, 6.3246e-3), "1.125e-2"),
    ],
    ids=["a grid's step", "a coarse grid's", "closer than a step", "a default and a finalist, which are no grid"],
)
def test_what_is_proposed_beyond_the_highest_is_one_step_of_a_grid(runs, write, lrs, beyond):
    for i, lr in enumerate(lrs):
        write("lora", lr, 0, 0.5 + i / 10, validation=0.5 + i / 10)
    [line] = [line for line in unknown(only(runs)) if "is the highest" in line]
    assert line.endswith(f"is the highest: {beyond} may be better.")
