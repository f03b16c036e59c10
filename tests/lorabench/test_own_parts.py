"""Models and tasks of one's own in a folder of configs: they work, or one line says what is missing."""

import json
import os
import subprocess
import sys

import pytest

from lorabench.__main__ import main
from lorabench.schema import PACKAGE

SMALL = ["train_samples=16", "+task.test_samples=2"]
TASK = """
from dataclasses import dataclass

from lorabench.tasks.base import Example
from lorabench.tasks.sourced import SourcedTask


@dataclass(kw_only=True)
class Mine(SourcedTask):
    def source_examples(self):
        return [Example(str(i), row["question"], row["answer"], row["answer"]) for i, row in enumerate(self.rows("train"))]

    def all_test_examples(self):
        rows = [(name, i, row) for name in self.used_sets for i, row in enumerate(self.rows(name))]
        return [Example(f"{name}/{i}", row["question"], answer=row["answer"], set=name) for name, i, row in rows]

    def prompt(self, example):
        return f"Q: {example.question}\\nA:"

    def score(self, example, completion):
        return float(completion.strip() == example.answer)
"""
MINE = "_target_: mine.Mine\nname: mine\nmax_new_tokens: 4\nvalidation_samples: 5\n"


@pytest.fixture
def own(tmp_path):
    """A function that writes a yaml, ``group/mine.yaml``, into a folder of configs and gives the words of a cell with it."""
    (tmp_path / "mine.py").write_text(TASK)
    for name, count in (("train", 40), ("sums", 3)):
        rows = [{"question": f"{i}+{i}", "answer": str(2 * i)} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(group: str, yaml: str) -> list[str]:
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(yaml)
        return ["lorabench", f"{group}=mine", f"output_dir={tmp_path / 'runs'}", "--config-dir", str(tmp_path)]

    return write


@pytest.fixture
def mistake(own, monkeypatch, capsys):
    """A function that runs the command line in this process, where it ends with code 2, and gives what it printed."""

    def run(group: str, yaml: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [*own(group, yaml), *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("HYDRA_FULL_ERROR", "PYTHONPATH"):  # which the command sets
            monkeypatch.setenv(name, "")
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        return capsys.readouterr().err

    yield run
    sys.modules.pop("mine", None)  # another test has another module of this name


@pytest.fixture
def trained(own, tmp_path):
    """A function that runs the command line in another process and gives the record of its cell."""

    def run(group: str, yaml: str, *words: str) -> dict:
        command = [sys.executable, "-m", *own(group, yaml), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        [record] = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
        return record

    return run


@pytest.mark.parametrize("words", [[], ["plan=true"]], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("name: mine", "model=mine names no source; set model.hub and model.revision, or model.path=DIR"),
        ("path: /nowhere", "model.name has no value; give it in its yaml, or as model.name=VALUE"),
        ("name: mine\npath: /nowhere", "model.path=/nowhere: no config.json in that folder"),
        ("name: mine\npaht: x", "unknown key 'model.paht'; did you mean 'path'?"),
        ("name: mine\nhub: a/b", "model=mine: model.hub=a/b needs model.revision=COMMIT"),
        ("name: mine\nweights: random", "model=mine: model.weights=random needs the shape; fill `architecture` in its yaml"),
        (
            "name: mine\nweights: random\narchitecture: {hidden_size: 8}",
            "model=mine: model.architecture.model_type=null is none",
        ),
        ("name: mine\nweights: random\narchitecture: {model_type: lama}", "model=mine: model.architecture.model_type=lama is"),
    ],
)
def test_a_model_that_lacks_something_is_one_line(mistake, yaml, message, words):
    printed = mistake("model", yaml, *words)
    assert printed.startswith(f"lorabench: {message}")
    assert len(printed.splitlines()) == 1


def test_a_model_of_ones_own_is_trained(trained):
    yaml = f"name: mine\npath: {PACKAGE / 'tiny' / 'checkpoint'}\n"
    record = trained("model", yaml, "train_samples=16", "task.test_samples=2", "task.validation_samples=2")
    assert (record["status"], record["model"]["name"]) == ("complete", "mine")


@pytest.mark.parametrize(
    ("yaml", "key"),
    [
        ("", "task.train"),
        ("train: {hub: a/b}", "task.train"),
        ("train: {hub: a/b, revision: x}", "task.train"),
        ("train: {hub: a/b, revison: x, split: train}", "task.train"),
        ("train: {path: FOLDER}\ntest: {sums: {}}", "task.test.sums"),
        ("path: nowhere", "task.path"),
    ],
)
def test_a_task_without_its_sources_is_one_line(mistake, tmp_path, yaml, key):
    printed = mistake("task", MINE + yaml.replace("FOLDER", str(tmp_path)), *SMALL)
    assert printed.startswith("lorabench: ") and key in printed
    assert len(printed.splitlines()) == 1


def test_a_source_that_is_wrong_is_one_line_in_a_plan_too(mistake):
    printed = mistake("task", MINE + "train: {hub: a/b, revison: x, split: train}", *SMALL, "plan=true")
    assert printed == "lorabench: unknown key 'task.train.revison'; did you mean 'revision'?\n"


def test_a_task_without_a_test_set_is_one_line(mistake, tmp_path):
    printed = mistake("task", MINE + f"train: {{path: {tmp_path}}}", *SMALL)
    assert printed == "lorabench: task=mine has no test problem\n"


def test_a_key_that_the_chosen_task_lacks_is_one_line(mistake):
    line = "the chosen task has no task.test_samples: give it in its yaml, or write +task.test_samples=VALUE"
    assert mistake("task", MINE, "task.test_samples=2") == f"lorabench: {line}\n"


@pytest.mark.parametrize("yaml", ["path: {0}\ntest: {{sums: {{}}}}", "train: {{path: {0}}}\ntest: {{sums: {{path: {0}}}}}"])
def test_a_task_of_ones_own_is_trained_and_scored(trained, tmp_path, yaml):
    record = trained("task", MINE + yaml.format(tmp_path), *SMALL)
    assert record["metrics"]["test"]["sets"]["sums"]["n"] == 2
