import json

import pytest

from lorabench.errors import UserError
from lorabench.tasks.base import Example, summarize
from lorabench.tasks.math import Math, final_number, gsm8k_solution
from lorabench.tiny.text import Chain


def make_math(path, **changed):
    return Math(
        **{
            "name": "math",
            "version": 1,
            "max_new_tokens": 256,
            "validation_samples": 2,
            "path": str(path),
            "test": {"gsm8k": {"files": ["test"]}},
            **changed,
        }
    )


def numbers(example):
    return tuple(int(word.rstrip(".")) for word in example.question.split() if word.rstrip(".").isdigit())


def test_arithmetic_splits_share_no_sum_and_gold_answers_score(arithmetic):
    train, test = arithmetic.train_examples(), arithmetic.all_test_examples()
    validation = arithmetic._pools["validation"]
    chains = [{example.target for example in split} for split in (train, validation, test)]
    assert not (chains[0] & chains[1] or chains[0] & chains[2] or chains[1] & chains[2])
    assert [len(split) for split in (train, validation, test)] == [20_000, 1_000, 1_000]
    for example in test[:50]:
        assert arithmetic.score(example, example.target) == 1
        assert arithmetic.score(example, example.target + "1") == 0
        assert arithmetic.score(example, "") == 0
        first = int(example.target.split("+")[0].split("-")[0])
        assert numbers(example)[0] == first


def test_arithmetic_fingerprint_follows_the_version(arithmetic):
    other = type(arithmetic)(name="arithmetic", version=2, max_new_tokens=40, validation_samples=20)
    assert other.fingerprint() != arithmetic.fingerprint()
    again = type(arithmetic)(name="arithmetic", version=1, max_new_tokens=40, validation_samples=20)
    assert again.fingerprint() == arithmetic.fingerprint()


def test_chain():
    chain = Chain(23, (14, -9))
    assert chain.expression() == "23+14-9"
    assert chain.worked() == "23+14=37. 37-9=28. The answer is 28"
    assert chain.total == 28


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is: 72", 72),
        ("The answer is: 1,234.", 1234),
        ("The answer is: -5", -5),
        ("The answer is: $18", 18),
        ("The answer is: 7/2", 4),
        ("The answer is: 2.6", 3),
        ("The answer is: 1. No. The answer is: 2", 2),
        ("The answer is: 3\nMore 9", 3),
        ("The answer is: 4/0", None),
        ("The answer is: none", None),
        ("72", None),
        ("the answer is: 72", None),
        ("", None),
    ],
)
def test_final_number(text, number):
    assert final_number(text) == number


def test_gsm8k_answers_in_metamath_form():
    target, gold = gsm8k_solution("He pays 2*1000=<<2*1000=2000>>2000.\n#### 2,000")
    assert target == "He pays 2*1000=2000.\nThe answer is: 2000"
    assert gold == "2000"


def test_own_solutions_of_the_real_gsm8k_score_full_marks(shared_data):
    task = make_math(shared_data / "gsm8k", validation_samples=500)
    assert (len(task.train_examples()), len(task.validation_examples()), len(task.test_examples())) == (6973, 500, 1319)
    for example in [*task.train_examples(), *task.validation_examples(), *task.test_examples()]:
        assert task.score(example, task.target(example)) == 1, example.id
        assert "<<" not in example.target
    assert not {e.question for e in task.train_examples()} & {e.question for e in task.validation_examples()}


def test_prompts_are_those_of_the_reference(shared_data):
    task = make_math(shared_data / "gsm8k")
    reference = json.loads((shared_data / "pissa_eval" / "metamath_test.json").read_text())
    theirs = {row["instruction"] for row in reference if row["type"] == "gsm8k"}
    assert {task.evaluation_prompt(example) for example in task.test_examples()} == theirs
    assert task.evaluation_prompt(task.test_examples()[0]).startswith(task.prompt(task.test_examples()[0]))


def metamath_rows(n):
    return [
        {"query": f"Q{i}?", "response": f"So.\nThe answer is: {i}", "type": "GSM_Rephrased", "original_question": f"O{i // 3}"}
        for i in range(n)
    ]


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rephrasings_of_one_question_stay_on_one_side(tmp_path):
    write(tmp_path, "train.jsonl", metamath_rows(60))
    write(tmp_path, "test.jsonl", [{"question": "a", "answer": "b\n#### 1"}])
    task = make_math(tmp_path, validation_samples=10)
    sides = [{e.group for e in split} for split in (task.train_examples(), task.validation_examples())]
    assert len(task.validation_examples()) == 10
    assert not sides[0] & sides[1]
    example = task.validation_examples()[0]
    assert task.score(example, example.target) == 1
    write(tmp_path, "train.jsonl", list(reversed(metamath_rows(60))))
    again = make_math(tmp_path, validation_samples=10)
    assert {e.group for e in again.validation_examples()} == sides[1]  # independent of the rows' order


def test_validation_has_only_answers_that_can_be_scored(tmp_path):
    latex = [{"query": f"M{i}?", "response": r"The answer is: \frac{3}{4}", "type": "MATH_Rephrased"} for i in range(20)]
    whole = [{"query": f"N{i}?", "response": "The answer is: 5", "type": "MATH_AnsAug"} for i in range(20)]
    write(tmp_path, "train.jsonl", latex + whole + metamath_rows(30))
    write(tmp_path, "test.jsonl", [{"question": "a", "answer": "b\n#### 1"}])
    task = make_math(tmp_path, validation_samples=9)
    assert len(task.validation_examples()) == 9
    assert all(e.question.startswith("Q") for e in task.validation_examples())
    assert len(task.train_examples()) + 9 == 70
    example = Example("x", "", answer="3")
    assert task.score(example, r"The answer is: \sqrt{2}") == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "a"}\n', "has the columns question; wanted"),
        ("not json\n", "is not valid JSON"),
        ('{"question": "a", "answer": "b"}\n{"question": \n', "is not valid JSON .*line 2"),
        ("[1, 2]\n", "must hold a list of objects"),
    ],
)
def test_broken_data_is_named(tmp_path, content, message):
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        make_math(tmp_path).train_examples()


def test_missing_data_names_the_files(tmp_path):
    with pytest.raises(UserError, match=r"found none of train\.jsonl"):
        make_math(tmp_path).train_examples()


def test_without_network_the_hub_error_names_three_ways():
    hub = {"hub": "meta-math/MetaMathQA", "revision": "aa4f34d3", "split": "train"}
    task = Math(name="math", version=1, max_new_tokens=9, validation_samples=2, train=hub)
    with pytest.raises(UserError, match=r"go online once .* task\.path=DIR.* task=arithmetic"):
        task.train_examples()


def test_summary_is_the_mean_over_sets_with_standard_errors(arithmetic):
    examples = [Example(str(i), "", set="a" if i < 4 else "b") for i in range(6)]
    result = summarize(arithmetic, examples, [{"score": x} for x in (1, 0, 0, 1, 1, 1)])
    assert result["mean"] == pytest.approx(0.75)
    assert result["sets"]["a"]["n"] == 4
    assert result["sets"]["a"]["stderr"] == pytest.approx((1 / 3 / 4) ** 0.5)  # sample variance 1/3
    assert result["sets"]["b"] == {"score": 1.0, "n": 2, "stderr": 0.0}
