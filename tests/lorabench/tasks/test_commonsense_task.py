import json

import pytest
import yaml

from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.tasks.base import Example, summarize
from lorabench.tasks.commonsense import FAMILIES, OPTIONS, Commonsense, family

SIZES = {"boolq": 3270, "piqa": 1838, "social_i_qa": 1954, "hellaswag": 10042, "winogrande": 1267}
SIZES |= {"ARC-Easy": 2376, "ARC-Challenge": 1172, "openbookqa": 500}


def make(path, **changed):
    """The task of the yaml, on local files."""
    node = yaml.safe_load((CONF / "task" / "commonsense.yaml").read_text())
    del node["_target_"]
    return Commonsense(**{**node, "path": None if path is None else str(path), **changed})


def rows(words, n=8):
    return [
        {
            "instruction": f"{words[0]} {i}?",
            "input": "",
            "output": f"the correct answer is {words[i % len(words)]}",
            "answer": words[i % len(words)],
        }
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("name", "gold", "completion", "score"),
    [
        ("boolq", "true", "the correct answer is true", 1),
        ("boolq", "false", "the correct answer is false\n", 1),
        ("boolq", "true", " the correct answer is false, not true", 0),
        ("boolq", "true", "untrue", 1),  # the word's letters count, as in the reference
        ("boolq", "true", "True", 0),
        ("boolq", "true", "", 0),
        ("piqa", "solution2", "solution2 or solution1", 1),
        ("piqa", "solution2", "answer2", 0),
        ("social_i_qa", "answer3", "the correct answer is answer3", 1),
        ("hellaswag", "ending4", "ending4", 1),
        ("hellaswag", "ending4", "ending5 is no option, ending4 is", 1),
        ("winogrande", "option1", "option2", 0),
        ("ARC-Easy", "answer5", "the correct answer is answer5", 1),
        ("ARC-Challenge", "answer1", "the correct answer is answer", 0),
        ("openbookqa", "answer1", "the correct answer is answer10", 1),
        ("answer", "answer2", "answer2", 1),  # a family, as in the validation split
        ("true/false", "true", "false", 0),
    ],
)
def test_the_first_option_word_of_the_set_counts(tmp_path, name, gold, completion, score):
    assert make(tmp_path).score(Example("x", "", answer=gold, set=name), completion) == score


def test_every_set_has_a_family_and_a_word_tells_its_own():
    assert set(FAMILIES) == set(SIZES)
    for name, words in OPTIONS.items():
        assert [family(word) for word in words.pattern.split("|")] == [name] * len(words.pattern.split("|"))
    assert family("answer6") is family("the correct answer is true") is None


def test_the_yaml_pins_source_and_rows():
    task = make(None)
    assert {name: node["rows"] for name, node in task.test.items()} == SIZES
    assert {node["revision"] for node in [task.train, *task.test.values()]} == {"816657208af4db747803f87ba40a4c71383fed7a"}
    assert task.max_new_tokens == 30 and task.validation == "score"
    assert "AGI-Edgerunners/LLM-Adapters@8166572" in task.fingerprint()
    assert "/dataset/boolq/test.json" in task.fingerprint()


def test_a_checkout_of_the_source_repository_is_a_folder_to_give(tmp_path):
    (tmp_path / "ft-training_set").mkdir()
    (tmp_path / "ft-training_set" / "commonsense_15k.json").write_text(json.dumps(rows(["true", "false"], 40)))
    (tmp_path / "dataset" / "piqa").mkdir(parents=True)
    (tmp_path / "dataset" / "piqa" / "test.json").write_text(json.dumps(rows(["solution1", "solution2"])))
    task = make(tmp_path, sets=["piqa"], validation_samples=10)
    assert (len(task.train_examples()), len(task.validation_examples()), len(task.test_examples())) == (30, 10, 8)
    example = task.test_examples()[0]
    assert example.id == "piqa/0"
    assert task.prompt(example) == task.evaluation_prompt(example)
    assert task.prompt(example).endswith("### Instruction:\nsolution1 0?\n\n### Response:")
    assert task.target(example) == "the correct answer is solution1\n"
    with pytest.raises(UserError, match=r"found no file boolq or"):
        make(tmp_path).test_examples()


def test_own_outputs_of_the_real_sets_score_full_marks_and_swapped_ones_nothing(shared_data):
    task = make(shared_data / "commonsense", validation_samples=500)
    examples = task.test_examples()
    sizes = {name: sum(e.set == name for e in examples) for name in SIZES}
    assert sizes == {**SIZES, "hellaswag": 1000}
    for example in [*examples, *task.train_examples(), *task.validation_examples()]:
        assert task.score(example, task.target(example)) == 1, example.id
        words = OPTIONS[FAMILIES.get(example.set, example.set)].pattern.split("|")
        wrong = words[(words.index(example.answer) + 1) % len(words)]
        assert task.score(example, task.target(example).replace(example.answer, wrong)) == 0, example.id
    assert len(task.train_examples()) + len(task.validation_examples()) == 17754
    assert not {e.question for e in task.train_examples()} & {e.question for e in task.validation_examples()}
    scores = task.score_all(task.validation_examples(), [e.target for e in task.validation_examples()])
    assert set(summarize(task, task.validation_examples(), scores)["sets"]) == {"answer", "true/false"}


def test_a_local_file_with_other_rows_than_the_published_set_is_noted_once(tmp_path, capsys):
    (tmp_path / "hellaswag.test1000.json").write_text(json.dumps(rows(["ending1", "ending2"])))
    (tmp_path / "openbookqa.json").write_text(json.dumps(rows(["answer1", "answer2"], 500)))
    task = make(tmp_path, sets=["hellaswag", "openbookqa"])
    assert len(task.test_examples()) == len(task.test_examples()) == 508
    [line] = capsys.readouterr().err.strip().splitlines()
    file = tmp_path / "hellaswag.test1000.json"
    assert line.startswith(f"task=commonsense: hellaswag has 8 rows in {file}, and 10042 as published; ")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"instruction": "a", "output": "b"},
            r"row boolq/0 \(.*, index 0\) has the columns instruction, output; wanted instruction, output, answer",
        ),
        (
            {"instruction": "a", "output": "b", "answer": "answer1"},
            r"row boolq/0 \(.*, index 0\) has the answer 'answer1'; wanted true\|false",
        ),
    ],
)
def test_broken_rows_are_named(tmp_path, row, message):
    (tmp_path / "boolq.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match=message):
        make(tmp_path, sets=["boolq"]).test_examples()
    (tmp_path / "train.json").write_text(json.dumps([{"instruction": "a", "output": "b", "answer": "maybe"}]))
    with pytest.raises(UserError, match=r"row train/0 \(.*, index 0\) has the answer 'maybe'; wanted an option word"):
        make(tmp_path, sets=["boolq"]).train_examples()


def test_unknown_sets_are_refused():
    with pytest.raises(UserError, match=r"task\.sets=copa: .* available: boolq"):
        make(None, sets=["copa"])
    with pytest.raises(UserError, match=r"task\.test\.copa: .* available: boolq"):
        make(None, test={"copa": {}})
