"""task=custom: files of one's own become examples, splits and scores; what cannot be right is one line."""

import json
import random

import pytest

from lorabench.cells.parts import build
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.tasks.base import Task
from lorabench.tasks.custom import Custom


def sums(n=60, seed=0):
    rng = random.Random(seed)
    pairs = rng.sample([(a, b) for a in range(2, 40) for b in range(2, 40)], n)
    return [{"question": f"What is {a} + {b}?", "answer": str(a + b)} for a, b in pairs]


def written(folder, rows, name="mine.jsonl"):
    file = folder / name
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture
def custom(tmp_path, cell):
    """A task of rows, with settings."""

    def make(rows, **fields) -> Custom:
        node = cell("task=custom", f"task.train={written(tmp_path, rows)}").config["task"]
        return build(node | fields, "task", Task)

    return make


def test_rows_are_divided_by_problem_and_each_row_is_in_one_split(custom):
    task = custom(sums(100))
    splits = [task.train_examples(), task.validation_examples(), task.test_examples()]
    assert list(map(len, splits)) == [81, 9, 10]
    questions = [{example.question for example in split} for split in splits]
    assert len(set.union(*questions)) == 100


def test_rows_of_a_group_stay_together_and_count_as_one(custom):
    rows = [row | {"problem": f"p{i // 4}"} for i, row in enumerate(sums(100))]
    task = custom(rows, columns={"group": "problem"}, test=0.2)
    groups = [
        {example.group for example in split}
        for split in (task.train_examples(), task.validation_examples(), task.test_examples())
    ]
    assert [len(names) for names in groups] == [18, 2, 5] and len(set.union(*groups)) == 25
    assert len(task.train_examples()) == 72 and len(task.test_examples()) == 5


def test_the_order_of_rows_changes_no_split(custom):
    rows = sums(60)
    names = []
    for ordered in (rows, rows[::-1]):
        task = custom(ordered)
        names.append([{e.question for e in split} for split in (task.validation_examples(), task.test_examples())])
    assert names[0] == names[1]


def splits_of(task):
    return [task.train_examples(), task.validation_examples(), task.test_examples()]


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_text_that_stands_twice_is_one_problem_in_any_order_of_rows(seed, custom):
    rows = [{"text": f"Text\n number {i}."} for i in range(40)] + [{"text": f"Text number {i}. "} for i in range(40)]
    shuffled = random.Random(seed).sample(rows, len(rows))
    splits = [{example.answer for example in split} for split in splits_of(custom(shuffled))]
    assert splits == [{example.answer for example in split} for split in splits_of(custom(rows))]
    texts = [{" ".join(text.split()) for text in split} for split in splits]
    assert len(set.union(*texts)) == sum(map(len, texts)) == 40


def test_prompts_that_differ_in_white_space_alone_are_one_problem(custom):
    rows = sums(40) + [row | {"question": row["question"].replace(" ", "\n ") + " "} for row in sums(40)]
    task = custom(rows)
    questions = [{" ".join(example.question.split()) for example in split} for split in splits_of(task)]
    assert sum(map(len, questions)) == 40 and len(task.train_examples()) == 2 * len(questions[0])
    assert task.contamination is None


def test_conversations_that_share_their_first_turns_are_one_problem(custom):
    rows = []
    for i in range(20):
        first = [{"role": "user", "content": f"Who is {i}?"}, {"role": "assistant", "content": f"It is {i}."}]
        rows += [{"messages": first}]
        rows += [
            {"messages": [*first, {"role": "user", "content": more}, {"role": "assistant", "content": "So it is."}]}
            for more in ("Sure?", "Really?")
        ]
    openings = [{example.opening for example in split} for split in splits_of(custom(rows, template="alpaca"))]
    assert sum(map(len, openings)) == len(set.union(*openings)) == 20


def test_a_test_file_is_used_whole(custom, tmp_path):
    test = written(tmp_path, sums(20, seed=1), "test.jsonl")
    task = custom(sums(60), test=str(test))
    assert len(task.test_examples()) == 20 and len(task.train_examples()) == 54


@pytest.mark.parametrize(
    ("answers", "scorer"),
    [
        (lambda i: str(i), "number"),
        (lambda i: ["yes", "no"][i % 2], "choice"),
        (lambda i: f"A sentence about {i}.", "loss"),
        (lambda i: ["yes", "no", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"][i % 13], "loss"),  # too few of each
    ],
)
def test_the_scorer_is_what_the_responses_allow_and_a_line_says_so(answers, scorer, custom, capsys):
    task = custom([row | {"answer": answers(i)} for i, row in enumerate(sums(60))])
    assert task.validation == task.tested == ("likelihood" if scorer == "loss" else "score")
    assert f"task.scorer={scorer}, since" in capsys.readouterr().err


def test_labels_are_texts_for_classes(custom):
    task = custom([row | {"answer": i % 2} for i, row in enumerate(sums(60))], labels=["no", "yes"])
    assert {example.answer for example in task.train_examples()} == {"no", "yes"}


def test_bad_rows_are_refused_or_left_out_and_counted(custom, capsys):
    rows = sums(60)
    rows[7]["answer"] = None
    with pytest.raises(
        UserError, match=r"row train/7 \(.*mine.jsonl, line 8\) has answer=null; mend it, or leave such rows out"
    ):
        custom(rows).train_examples()
    task = custom(rows, skip_bad_rows=True)
    assert sum(map(len, (task.train_examples(), task.validation_examples(), task.test_examples()))) == 59
    assert "1 of 60 rows of train are left out" in capsys.readouterr().err


def test_responses_that_would_be_cut_are_refused_with_their_share(custom, capsys):
    rows = sums(60)
    rows[3]["answer"] = "9" * 600
    with pytest.raises(
        UserError, match=r"1 of 60 training rows \(1.7%\) have more than trainer.max_length=512 tokens, such as train/3"
    ):
        custom(rows).train_examples()
    assert len(custom(rows, skip_bad_rows=True)._examples["train"]) == 59
    texts = custom([{"text": "word " * (600 if i == 3 else 5) + str(i)} for i in range(60)])
    assert len(texts._examples["train"]) == 60
    assert "they are cut there" in capsys.readouterr().err


def test_a_response_that_its_own_scorer_finds_wrong_is_named(custom, tmp_path):
    test = sums(20, seed=1)
    test[4]["answer"] = "nothing"
    file = written(tmp_path, test, "test.jsonl")
    with pytest.raises(
        UserError, match=r"row test/4 \(.*test.jsonl, line 5\) with the gold 'nothing', which the scorer finds wrong"
    ):
        custom(sums(60), test=str(file), scorer="number").test_examples()
    assert len(custom(sums(60), test=str(file), scorer="number", skip_bad_rows=True).test_examples()) == 19


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"train": None}, "needs data: task.train=FILE"),
        ({"train": "nowhere.csv"}, "task.train=nowhere.csv: there is no such file"),
        ({"train": "owner/name"}, "task.train: the data set owner/name has no revision, so not pinned; give the commit"),
        ({"train": "owner/name@main"}, "has the revision main, which is not pinned"),
        ({"test": 1.0}, r"task.test=1.0 must be a file, or a share in \(0, 1\)"),
        ({"test": True}, "task.test=True must be a file, or a share"),
        ({"test": None}, "there would be nothing to report"),
        ({"columns": {"promt": "a"}}, "task.columns.promt is unknown; did you mean 'prompt'"),
        ({"template": "chta"}, "task.template=chta is neither chat, alpaca nor none"),
        ({"scorer": "exat"}, "task.scorer=exat is none; did you mean 'exact'"),
        ({"scorer": "regex"}, "task.scorer=regex needs PATTERN"),
        ({"scorer": "exact=1"}, "exact takes nothing behind it"),
        ({"labels": "yes"}, "task.labels=yes must be a list of texts"),
        ({"template": "chat"}, "has no chat template; give one with task.chat_template=FILE"),
        ({"template": "chat", "chat_template": "nowhere.jinja"}, "task.chat_template=nowhere.jinja: there is no such file"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, custom):
    with pytest.raises(UserError, match=words):
        custom(sums(60), **fields).train_examples()


def test_a_greeting_makes_no_problem(custom):
    hello = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, how can I help?"}]
    rows = [
        {"messages": [*hello, {"role": "user", "content": f"Who is {i}?"}, {"role": "assistant", "content": f"It is {i}."}]}
        for i in range(40)
    ]
    assert sum(len(split) for split in splits_of(custom(rows, template="alpaca"))) == 40


def test_testing_on_the_training_file_is_refused(custom, tmp_path):
    rows = sums(60)
    with pytest.raises(UserError, match=r"task.train and task.test are the same data"):
        custom(rows, test=str(written(tmp_path, rows, "copy.jsonl"))).train_examples()


@pytest.mark.parametrize("spaced", [False, True])
def test_a_test_file_that_the_training_file_holds_in_another_order_is_refused(spaced, custom, tmp_path):
    rows = sums(60)
    copy = [row | {"question": row["question"].replace(" ", "  ")} if spaced else row for row in rows[40:]]
    file = written(tmp_path, copy, "copy.jsonl")
    with pytest.raises(UserError, match=r"every prompt of task.test is in task.train, such as test/0 \(train/40\)"):
        custom(rows, test=str(file)).train_examples()


def test_training_rows_of_a_test_group_are_left_out_and_counted(custom, tmp_path, capsys):
    rows = [row | {"problem": f"p{i // 4}"} for i, row in enumerate(sums(100))]
    file = written(tmp_path, rows[:6], "test.jsonl")
    task = custom(rows[6:], columns={"group": "problem"}, test=str(file))
    assert len(task.source_examples()) == 92 and len(task.test_examples()) == 6
    assert not {example.group for example in task.train_examples()} & {"p0", "p1"}
    assert "2 of 94 training rows belong to test problems" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"2 of 2 training rows .* nothing is left to train on"):
        custom(rows[6:8], columns={"group": "problem"}, test=str(file)).train_examples()


def test_numbers_of_groups_may_begin_anew_in_each_file(custom, tmp_path, capsys):
    rows = [row | {"problem": i % 20} for i, row in enumerate(sums(100))]
    task = custom(rows[6:], columns={"group": "problem"}, test=str(written(tmp_path, rows[:6], "test.jsonl")))
    assert len(task.source_examples()) == 94
    assert "24 of 94 training rows have a number in task.columns.group that test rows have, too" in capsys.readouterr().err


def test_training_conversations_that_begin_as_a_test_one_are_left_out(custom, tmp_path, capsys):
    def talk(i, *more):
        texts = [f"Who is {i}?", f"It is {i}.", *more]
        return {"messages": [{"role": ["user", "assistant"][k % 2], "content": text} for k, text in enumerate(texts)]}

    file = written(tmp_path, [talk(i, "Sure?", "Yes.") for i in range(5)], "test.jsonl")
    task = custom([talk(i, "Really?", "Indeed.") for i in range(30)], template="alpaca", test=str(file))
    assert len(task.source_examples()) == 25
    assert "5 of 30 training rows belong to test problems" in capsys.readouterr().err


def test_content_decides_the_fingerprint_and_no_path_does(custom, tmp_path):
    first = custom(sums(60), train=str(written(tmp_path, sums(60), "here.jsonl")))
    (tmp_path / "there").mkdir()
    moved = custom([], train=str(written(tmp_path / "there", sums(60))))
    assert first.fingerprint() == moved.fingerprint() != custom(sums(61)).fingerprint()


@pytest.mark.parametrize("scorer", ["number", "loss"])
def test_a_cell_is_trained_scored_and_recorded(scorer, cell, tmp_path):
    file = written(tmp_path, sums(60))
    made = cell(
        "task=custom", f"task.train={file}", f"task.scorer={scorer}", "task.max_new_tokens=8", "train_samples=16", "lr=1e-3"
    )
    run(made)
    record = made.record()
    sets = record["metrics"]["test"]["sets"]
    name = "likelihood" if scorer == "loss" else "mine"
    assert (sets[name]["n"], record["status"]) == (6, "complete")
    assert record["config"]["task"]["name"] == "mine"
    if scorer == "loss":
        assert 0 < sets[name]["score"] < 1 and sets[name]["stderr"] > 0 and "test_loss" in record
    else:
        assert "test_loss" not in record
