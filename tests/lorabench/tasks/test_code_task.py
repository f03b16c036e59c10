import copy
import gzip
import json
import os
import sys

import pytest
import yaml

from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.tasks.code import Code, extract_code

YAML = yaml.safe_load((CONF / "task" / "code.yaml").read_text())
FULL = os.environ.get("LORABENCH_TEST_ALL_PROBLEMS") == "1"  # all 542 problems instead of a sample: minutes
SLOW = 20.0  # time limits on a machine that does other things beside

# EvalPlus has since taken a web address out of these problems' descriptions; PiSSA's file still has it.
ADDRESS_REMOVED = {734, 735, 736, 739, 740, 743, 745, 749, 751, 752, 753, 757, 763, 771, 780, 781, 782, 803}

# EvalPlus 0.3.1 does not count the tests that find_zero passes, and so fails every solution of the first; the canonical solutions
# of the other two hold an assert, at which the reference cuts.
NEVER_RIGHT = {"HumanEval/32", "HumanEval/67", "Mbpp/62"}


def make(**changed):
    settings = {key: copy.deepcopy(value) for key, value in YAML.items() if key != "_target_"}
    return Code(**{**settings, "validation_samples": 2, **changed})


def real(data, **changed):
    task = make(**changed)
    task.train["path"] = str(data / "code_instruct")
    task.test["humaneval"]["path"] = str(data / "humaneval")
    task.test["mbpp"]["path"] = str(data / "mbpp" / "MbppPlus-v0.2.0.jsonl.gz")
    return task


@pytest.fixture
def evalplus(monkeypatch, tmp_path_factory):
    pytest.importorskip("evalplus", reason="evalplus is not installed (make install-eval)")
    if "LORABENCH_CACHE" not in os.environ:
        monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("def f():\r\n    pass", "def f():\n    pass"),
        (" x = 1\n", " x = 1\n"),
        ("Here:\n```python\ndef f():\n    return 1\n```\nIt returns 1.\n```python\nf()\n```", "def f():\n    return 1"),
        ("```python\ndef f():\n    return 1\n", "\ndef f():\n    return 1"),
        ("```python\nx = 1\n```python\ny = 2\n```", "x = 1\n\ny = 2"),
        ("```\nx = 1\n```", "```\nx = 1\n```"),
        ('def f():\n    return 1\n\nif __name__ == "__main__":\n    f()', "def f():\n    return 1"),
        ("def f():\n    return 1\n\n# Example usage:\nf()", "def f():\n    return 1"),
        ("def f():\n    return 1\n\nassert f() == 1\nassert f()", "def f():\n    return 1"),
        ("# Example usage\nassert 1", ""),
        ("", ""),
    ],
)
def test_the_part_of_a_completion_that_is_run(completion, code):
    assert extract_code(completion) == code


def test_prompts_are_those_of_the_reference(shared_data, evalplus):
    task = real(shared_data)
    reference = json.loads((shared_data / "pissa_eval" / "python_test.json").read_text())
    reference_prompts = {row["output"]: row["instruction"] for row in reference}
    examples = task.all_test_examples()
    assert [(e.set, e.id in reference_prompts) for e in examples] == [("humaneval", True)] * 164 + [("mbpp", True)] * 378
    differ = {example.id for example in examples if task.evaluation_prompt(example) != reference_prompts[example.id]}
    assert differ == {f"Mbpp/{number}" for number in ADDRESS_REMOVED}
    for example in examples:
        if example.id in differ:
            address = [word for word in reference_prompts[example.id].split() if ".org/" in word or ".com/" in word]
            without = reference_prompts[example.id].replace(address[0], "")
            assert len(address) == 1
            squeezed = ["".join(text.split()).replace(".", "") for text in (without, task.evaluation_prompt(example))]
            assert squeezed[0] == squeezed[1]
        assert task.evaluation_prompt(example).replace("\n\n\n### Ins", "\n\n### Ins") == task.prompt(example)


def test_training_rows_of_the_real_data_are_python(shared_data):
    task = real(shared_data, validation_samples=100)
    with gzip.open(shared_data / "code_instruct" / "code_instruct.all.jsonl.gz", "rt") as file:
        rows = [row for row in map(json.loads, file) if str(row["python"]) == "True"]
    train, validation = task.train_examples(), task.validation_examples()
    assert len(validation) == 100 and 100 < len(train) <= len(rows) - 100
    assert {task.target(e) for e in train + validation} <= {row["output"] + "\n" for row in rows}
    with_input = next(row for row in rows if row["input"])
    assert f"{with_input['instruction']}\n\n{with_input['input']}" in {e.question for e in task.source_examples()}
    assert not {e.group for e in train} & {e.group for e in validation}


def test_rows_in_the_hubs_columns_all_count(tmp_path):
    rows = [{"instruction": f"I{i}", "output": f"O{i}"} for i in range(9)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make(path=str(tmp_path))
    assert {task.prompt(e) + task.target(e) for e in task.source_examples()} == {
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\nI{i}\n\n### Response:O{i}\n"
        for i in range(9)
    }
    assert task.validation == "likelihood"


def sample(task):
    """All problems, or 20 of each kind of test that EvalPlus treats apart, and of the rest."""
    examples = task.all_test_examples()
    special = {"HumanEval/32", "Mbpp/2", "Mbpp/164", "Mbpp/252", "Mbpp/295", "Mbpp/558", "Mbpp/581"}
    return [e for i, e in enumerate(examples) if FULL or e.id in special or i % 40 == 0]


def test_canonical_solutions_pass_and_broken_ones_fail(shared_data, evalplus):
    task = real(shared_data, timeout_factor=SLOW)
    examples = sample(task)
    rows = [task._problems[e.id][1] for e in examples]
    fenced = {"humaneval": "{}", "mbpp": "So:\n```python\n{}\n```"}
    right = task.score_all(
        examples, [fenced[e.set].format(row["canonical_solution"]) for e, row in zip(examples, rows, strict=True)]
    )
    failed = {e.id for e, score in zip(examples, right, strict=True) if score != {"score": 1.0, "plus": 1.0}}
    assert failed == NEVER_RIGHT & {e.id for e in examples}
    broken = [f"def {row['entry_point']}(*arguments):\n    return None\n" for row in rows]
    wrong = task.score_all(examples, broken)
    assert [e.id for e, score in zip(examples, wrong, strict=True) if score != {"score": 0.0, "plus": 0.0}] == []


def test_plus_tests_find_what_base_tests_miss(shared_data, evalplus):
    task = real(shared_data, timeout_factor=SLOW)
    example = next(e for e in task.all_test_examples() if e.id == "HumanEval/2")
    base = [inputs[0] for inputs in task._problems[example.id][1]["base_input"]]
    memorised = f"    return number % 1.0 if number in {base} else -1\n"
    assert task.score_all([example], [memorised]) == [{"score": 1.0, "plus": 0.0}]
    assert task.score(example, memorised) == 1.0
    assert task.score(example, "    return number\n") == 0.0


def test_wrong_files_are_one_line(shared_data, evalplus, tmp_path):
    task = real(shared_data)
    for content in (
        (shared_data / "humaneval" / "HumanEvalPlus-v0.1.10-Mini.jsonl.gz").read_bytes(),
        (shared_data / "humaneval" / "HumanEvalPlus-v0.1.10.jsonl.gz").read_bytes()[:-1000],
        b"",
    ):
        file = tmp_path / "HumanEvalPlus-v0.1.10.jsonl.gz"
        file.write_bytes(content)
        task.test["humaneval"]["path"] = str(tmp_path)
        with pytest.raises(
            UserError, match=r"is not EvalPlus's humaneval v0\.1\.10 \(another version, the Mini file, or damaged"
        ):
            real_again(task).test_examples()
    file.unlink()
    with pytest.raises(UserError, match=r"task\.test\.humaneval\.path=.* found no file HumanEvalPlus-v0\.1\.10 or"):
        real_again(task).test_examples()


def real_again(task):
    """The same task without what it has loaded."""
    return make(train=task.train, test=task.test)


def test_the_decompressed_file_will_do_and_is_the_same_data(shared_data, evalplus, tmp_path):
    task = real(shared_data)
    packed = shared_data / "humaneval" / "HumanEvalPlus-v0.1.10.jsonl.gz"
    (tmp_path / "humaneval.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    unpacked = real(shared_data)
    unpacked.test["humaneval"]["path"] = str(tmp_path)
    assert unpacked.all_test_examples() == task.all_test_examples()
    assert unpacked.fingerprint() == task.fingerprint()


def test_offline_without_a_file_says_what_to_do(evalplus, monkeypatch):
    from evalplus.data import humaneval

    def offline(*arguments):
        raise OSError("no network")

    monkeypatch.setattr(humaneval, "make_cache", offline)
    with pytest.raises(
        UserError,
        match=r"cannot get EvalPlus's humaneval v0\.1\.10 \(OSError\); go online once .* task\.test\.humaneval\.path=FILE",
    ):
        make().all_test_examples()


def test_without_evalplus_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "evalplus.config", None)
    with pytest.raises(UserError, match=r"`make install-eval`"):
        make().test_examples()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timeout_factor": 0.0}, r"task\.timeout_factor=0\.0 must be a number above 0"),
        ({"timeout_factor": float("inf")}, r"task\.timeout_factor=inf must be"),
        ({"sets": ["apps"]}, r"no such test set; available: humaneval, mbpp"),
        ({"test": {"apps": {}}}, r"task\.test\.apps: task=code has no such set; available: humaneval, mbpp"),
    ],
)
def test_bad_settings_are_refused(changed, message):
    with pytest.raises(UserError, match=message):
        make(**changed)


def test_rows_of_other_columns_or_languages_are_named(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"query": "a"}\n')
    with pytest.raises(UserError, match="has the columns query; wanted instruction, output"):
        make(path=str(tmp_path)).train_examples()
    (tmp_path / "train.jsonl").write_text('{"instruction": "a", "output": "b", "python": false}\n')
    with pytest.raises(UserError, match="no row of the training data is flagged as Python"):
        make(path=str(tmp_path)).train_examples()
    for flag, what in ((None, "null"), (1.5, "1.5"), ("yes", '"yes"'), ([], r"\[\]")):
        (tmp_path / "train.jsonl").write_text(json.dumps({"instruction": "a", "output": "b", "python": flag}) + "\n")
        with pytest.raises(UserError, match=rf"row train/0 \(.*, line 1\) has python={what}; wanted true or false"):
            make(path=str(tmp_path)).train_examples()


def test_training_rows_without_a_response_are_left_out_with_a_line(tmp_path, capsys):
    rows = [{"instruction": f"I{i}", "output": "O" if i % 3 else " \n"} for i in range(9)]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make(path=str(tmp_path))
    assert [e.id for e in task.source_examples()] == [f"train/{i}" for i in range(9) if i % 3]
    assert task.blank_rows == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'task=code: row train/0 ({file}, line 1) has the blank text output=" \\n"; '
        "3 of the 9 training rows are left out for a blank text"
    )
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(UserError, match=r"row train/0 \(.*, line 1\) has the blank text output="):
        make(path=str(tmp_path)).train_examples()
