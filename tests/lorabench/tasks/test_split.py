"""What validation holds, what its error says, and what of the test sets is in the training data."""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import fmean, stdev

import pytest

from lorabench.cells.checks import check
from lorabench.cells.run import run
from lorabench.cells.scores import score
from lorabench.errors import PromptTooLong, UserError
from lorabench.generation.hf import HFGenerator
from lorabench.tasks.arithmetic import Arithmetic
from lorabench.tasks.base import Example, Task, summarize
from lorabench.tasks.math import Math


@dataclass(kw_only=True)
class Rephrased(Task):
    """Rows given by a test."""

    name: str = "rephrased"
    max_new_tokens: int = 4
    validation_samples: int = 50
    source: list = field(default_factory=list)
    tests: list = field(default_factory=list)
    unscorable: set = field(default_factory=set)

    def source_examples(self):
        return self.source

    def validates(self, source):
        return {i for i, example in enumerate(source) if example.id not in self.unscorable}

    def all_test_examples(self):
        return self.tests

    def prompt(self, example):
        return f"Q: {example.question}\n"

    def score(self, example, completion):
        return float(completion == example.answer)

    def fingerprint(self):
        return ""


class Unscored(Rephrased):
    validation = "likelihood"


def metamath(problems=120, seed=0):
    """Rephrasings of problems, 14 to 38 of each as in MetaMathQA."""
    draw = random.Random(seed)
    return [
        Example(f"train/{problem}.{i}", f"P{problem} said {i}", str(problem), str(problem), group=f"P{problem}")
        for problem in range(problems)
        for i in range(draw.randint(14, 38))
    ]


def test_validation_is_one_example_of_each_of_so_many_problems():
    source = metamath()
    task = Rephrased(source=source)
    validation, train = task.validation_examples(), task.train_examples()
    assert len(validation) == len({example.group for example in validation}) == 50
    assert not {example.group for example in validation} & {example.group for example in train}
    sizes = Counter(example.group for example in source)
    assert len(train) == len(source) - sum(sizes[example.group] for example in validation)
    places = [int(example.id.rpartition(".")[2]) for example in validation]
    assert len(set(places)) > 10  # a hash chooses, not the order
    shuffled = random.Random(1).sample(source, len(source))
    again = Rephrased(source=shuffled)
    assert {example.id for example in again.validation_examples()} == {example.id for example in validation}
    assert {example.id for example in again.train_examples()} == {example.id for example in train}
    smaller = Rephrased(source=source, validation_samples=20).validation_examples()
    assert {example.id for example in smaller} < {example.id for example in validation}


def test_the_scored_example_of_a_problem_is_one_that_can_be_scored():
    source = metamath(10)
    unscorable = {e.id for e in source if not e.id.endswith(".3") or e.group == "P7"}
    task = Rephrased(source=source, validation_samples=9, unscorable=unscorable)
    assert {example.id for example in task.validation_examples()} == {f"train/{p}.3" for p in range(10) if p != 7}
    assert {example.group for example in task.train_examples()} == {"P7"}


def test_a_question_of_validation_is_trained_on_in_no_group():
    source = [Example(f"{group}{i}", f"asked by both {i}", group=f"{group}{i}") for group in "ab" for i in range(20)]
    task = Rephrased(source=source, validation_samples=5)
    questions = {example.question for example in task.validation_examples()}
    assert not questions & {example.question for example in task.train_examples()}
    assert len(task.train_examples()) == 40 - 2 * len(questions)


@pytest.mark.parametrize("length", [2, 3, 7])
def test_groups_that_share_questions_are_one_problem_through_others_too(length):
    """Chains of groups: each asks a question of its own, one that the group before asks, and one that the next asks."""
    source = [
        Example(f"{chain}.{link}.{i}", f"{chain} asks {2 * link + i}", group=f"{chain}.{link}")
        for chain in range(12)
        for link in range(length)
        for i in range(3)
    ]
    task = Rephrased(source=random.Random(0).sample(source, len(source)), validation_samples=5)
    sides = [{example.id.split(".")[0] for example in split} for split in (task.validation_examples(), task.train_examples())]
    assert len(sides[0]) == len(task.validation_examples()) == 5
    assert not sides[0] & sides[1]
    assert len(task.train_examples()) == 7 * 3 * length
    with pytest.raises(UserError, match=r"validation_samples=13 is more than the 12 problems of"):
        Rephrased(source=source, validation_samples=13).train_examples()


def test_a_row_whose_own_answer_is_wrong_is_not_scored(capsys):
    source = metamath(60)
    wrong = {example.id for example in source if example.group in ("P1", "P2") or example.id.endswith(".3")}
    marked = [replace(example, target="nothing") if example.id in wrong else example for example in source]
    task = Rephrased(source=marked, validation_samples=58)
    validation = task.validation_examples()
    assert not wrong & {example.id for example in validation}
    assert {example.group for example in task.train_examples()} == {"P1", "P2"}
    [line] = capsys.readouterr().err.splitlines()
    count, first = re.search(r"^task=rephrased: (\d+) training rows are passed over for validation, because the scorer finds their own answer wrong \((.*) with the gold '\d+'\)$", line).groups()  # fmt: skip
    assert first in wrong and 2 < int(count) <= len(wrong)
    with pytest.raises(UserError, match=r"=59 is more than the 58 problems of .*, or more data; task=rephrased: \d+ training rows are passed") as caught:  # fmt: skip
        Rephrased(source=marked, validation_samples=59).train_examples()
    assert "\n" not in str(caught.value)


def test_a_validation_that_is_not_scored_needs_no_right_answer():
    source = [replace(example, target="nothing") for example in metamath(60)]
    assert len(Unscored(source=source).validation_examples()) == 50


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation_samples": 121}, r"task\.validation_samples=121 is more than the 120 problems of the \d+ training examples"),
        ({"validation_samples": 120}, r"task\.validation_samples=120 leaves nothing of \d+ training examples to train on; give"),
        ({"source": []}, r"task\.validation_samples=50 is more than the 0 problems of the 0 training examples"),
        ({"source": [Example("a", "x"), Example("b", "y"), Example("a", "z")]}, "task=rephrased: the id a names 2 examples"),
    ],
)  # fmt: skip
def test_too_few_problems_are_one_line(changed, message):
    with pytest.raises(UserError, match=message) as caught:
        Rephrased(**{"source": metamath(), **changed}).train_examples()
    assert "\n" not in str(caught.value)


def test_two_test_problems_of_one_id_are_refused():
    task = Rephrased(tests=[Example("1", "a", set="x"), Example("1", "b", set="y")])
    with pytest.raises(UserError, match="task=rephrased: the id 1 names 2 examples; give each its own"):
        task.test_examples()


def test_arithmetic_does_not_shorten_its_validation():
    task = Arithmetic(name="arithmetic", max_new_tokens=40, validation_samples=1001)
    with pytest.raises(UserError, match=r"task\.validation_samples=1001 is more than the 1000 stories"):
        task.validation_examples()


def test_the_error_counts_problems():
    task, draw = Rephrased(), random.Random(0)
    examples = [Example(f"{p}/{i}", "", group=f"P{p}") for p in range(40) for i in range(6)]
    easy = [draw.random() for _ in range(40)]
    scores = [{"score": float(draw.random() < easy[int(example.group[1:])])} for example in examples]
    means = [fmean(s["score"] for s in scores[6 * p : 6 * p + 6]) for p in range(40)]
    [summary] = summarize(task, examples, scores)["sets"].values()
    assert (summary["n"], summary["groups"]) == (240, 40)
    assert summary["stderr"] == pytest.approx(stdev(means) / sqrt(40))
    single = task.summary([Example(str(i), "") for i in range(240)], scores)
    assert "groups" not in single
    assert single["stderr"] == pytest.approx(stdev(s["score"] for s in scores) / sqrt(240))
    assert summary["stderr"] > 1.3 * single["stderr"]
    assert task.summary(examples[:6], scores[:6])["stderr"] is None  # one problem tells nothing of others


@pytest.mark.parametrize("correlation", [0.3, 0.6])
def test_the_error_is_the_spread_over_other_problems(correlation):
    """Groups of unequal sizes drawn anew 400 times: the mean stated error against the standard deviation of the scores."""
    task, draw, means, errors, old = Rephrased(), random.Random(0), [], [], []
    for _ in range(400):
        examples, scores = [], []
        for p in range(21):
            hard = draw.random() < 0.5
            for i in range(draw.randint(14, 38)):
                same = draw.random() < sqrt(correlation)
                scores.append({"score": float(hard if same else draw.random() < 0.5)})
                examples.append(Example(f"{p}/{i}", "", group=str(p)))
        summary = task.summary(examples, scores)
        means.append(summary["score"])
        errors.append(summary["stderr"])
        old.append(sqrt(summary["score"] * (1 - summary["score"]) / (len(scores) - 1)))
    assert fmean(errors) == pytest.approx(stdev(means), rel=0.12)
    assert fmean(old) < 0.5 * stdev(means)


def test_a_question_that_a_test_set_asks_twice_counts_once_and_its_rows_say_so():
    tests = [Example(f"s/{i}", f"q{i % 3}", answer="yes", set="s") for i in range(4)]
    task = Rephrased(source=metamath(60), tests=tests)
    rows = [{"split": "test", "set": "s", "id": e.id, "prompt": "", "completion": c, "gold": "yes"} for e, c in zip(tests, ("yes", "no", "no", "yes"), strict=True)]  # fmt: skip
    summary = score(task, rows, {}, ["test"])["test"]["sets"]["s"]
    # Deviations by question: 1/2 + 1/2, −1/2, −1/2.
    assert (summary["n"], summary["groups"], summary["stderr"]) == (4, 3, pytest.approx(sqrt(3 / 2 * 1.5) / 4))
    assert [row.get("group") for row in rows] == ["q0", None, None, "q0"]


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def gsm8k(numbers, end="?"):
    return [{"question": f"What is {i}{end}", "answer": f"It is.\n#### {i}"} for i in numbers]


def test_test_problems_in_the_training_data_are_one_line(tmp_path, cell, capsys):
    write(tmp_path, "train.jsonl", gsm8k(range(40)))
    write(tmp_path, "gsm8k.jsonl", gsm8k(range(37, 49)))
    made = cell("task=math", f"task.path={tmp_path}", "task.sets=[gsm8k]", "task.validation_samples=4", "train_samples=16")
    for _ in range(2):
        check(made)
    [line] = [line for line in capsys.readouterr().err.splitlines() if "word for word" in line]
    assert line == (
        "task=math: 3 of 12 test problems (25.00%) are in the training data word for word, such as gsm8k/0 (train/37); their "
        "scores may be learned by heart"
    )
    write(tmp_path, "gsm8k.jsonl", gsm8k(range(40, 49)))
    assert (
        Math(name="math", max_new_tokens=4, validation_samples=4, path=str(tmp_path), test={"gsm8k": {}}).contamination is None
    )


@pytest.mark.parametrize("end", ["?", "?\n", " ?"])
def test_spaces_hide_no_test_problem_in_the_training_data(tmp_path, end):
    write(tmp_path, "train.jsonl", gsm8k(range(40), end))
    write(tmp_path, "gsm8k.jsonl", gsm8k(range(37, 49), end.replace(" ", "  ").strip("\n")))
    task = Math(name="math", max_new_tokens=4, validation_samples=4, path=str(tmp_path), test={"gsm8k": {}})
    assert task.contamination.startswith("task=math: 3 of 12 test problems")


def test_a_training_file_that_is_the_test_file_is_refused(tmp_path):
    for name in ("train.jsonl", "copy.jsonl"):
        write(tmp_path, name, gsm8k(range(40)))
    for file in ("train", "copy"):
        task = Math(name="math", max_new_tokens=4, validation_samples=4, path=str(tmp_path), test={"gsm8k": {"files": [file]}})
        with pytest.raises(UserError, match=r"^task\.train and task\.test\.gsm8k are the same data \(sha256:.*give other"):
            _ = task.contamination


def test_a_prompt_that_is_too_long_is_named(cell):
    base = cell("model.weights=random").base()
    tests = [Example("s/0", "short", set="s"), Example("s/1", "long " * base.max_length, set="s")]
    generator = HFGenerator(name="hf", batch_tokens=64)
    generator.load(base)
    task = Rephrased(tests=tests)
    with pytest.raises(
        UserError, match=rf"^problem s/1 of s: a prompt of \d+ tokens leaves no room for an answer in the {base.max_length}"
    ):
        task.complete(tests, lambda prompts: generator.generate(prompts, 4))
    with pytest.raises(PromptTooLong) as caught:
        generator.answer_limits([3, 99, 98], 4, 50)
    assert caught.value.place == 1


@pytest.mark.parametrize(("split", "problem"), [("gsm8k", r"gsm8k/3 of gsm8k"), ("train", r"train/\d of gsm8k")])
def test_a_prompt_that_is_too_long_is_seen_before_anything_is_trained(tmp_path, cell, split, problem):
    """The long row is the last one of the test set, or each that validation may choose."""
    rows = {"train": gsm8k(range(9)), "gsm8k": gsm8k(range(20, 24))}
    for row in rows[split][3:] if split == "gsm8k" else rows[split]:
        row["question"] += " Why?" * 400
    for name, members in rows.items():
        write(tmp_path, f"{name}.jsonl", members)
    settings = ["task=math", f"task.path={tmp_path}", "task.sets=[gsm8k]", "task.validation_samples=2", "task.max_new_tokens=8"]
    made = cell(*settings, "train_samples=4")
    with pytest.raises(UserError, match=rf"^problem {problem}: a prompt of \d+ tokens leaves no room for an answer in the \d+"):
        run(made)
    assert not made.folder.exists()
