"""Models and tasks of one's own in a folder of configs: they work, or one line says what is missing."""

import json
import os
import subprocess
import sys

import pytest

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
def lorabench(tmp_path):
    """A function that writes a yaml, ``group/mine.yaml``, into a folder of configs and runs a cell with it."""
    (tmp_path / "mine.py").write_text(TASK)
    for name, count in (("train", 40), ("sums", 3)):
        rows = [{"question": f"{i}+{i}", "answer": str(2 * i)} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(group: str, yaml: str, *words: str):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(yaml)
        command = [sys.executable, "-m", "lorabench", f"{group}=mine", f"output_dir={tmp_path / 'runs'}", *words]
        return subprocess.run(
            [*command, "--config-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    return run


def records(folder):
    return [json.loads(file.read_text()) for file in folder.glob("runs/*/record.json")]


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
            "model=mine: model.architecture.model_type=None is none",
        ),
        ("name: mine\nweights: random\narchitecture: {model_type: lama}", "model=mine: model.architecture.model_type=lama is"),
    ],
)
def test_a_model_that_lacks_something_is_one_line(lorabench, yaml, message, words):
    done = lorabench("model", yaml, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"lorabench: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_a_model_of_ones_own_is_trained(lorabench, tmp_path):
    yaml = f"name: mine\npath: {PACKAGE / 'tiny' / 'checkpoint'}\n"
    done = lorabench("model", yaml, "train_samples=16", "task.test_samples=2", "task.validation_samples=2")
    assert done.returncode == 0, done.stderr
    [record] = records(tmp_path)
    assert (record["status"], record["model"]["name"]) == ("complete", "mine")


@pytest.mark.parametrize("words", [[], ["plan=true"]], ids=["run", "plan"])
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
def test_a_task_without_its_sources_is_one_line(lorabench, tmp_path, yaml, key, words):
    done = lorabench("task", MINE + yaml.replace("FOLDER", str(tmp_path)), *SMALL, *words)
    if words and done.returncode == 0:  # a plan may not need them; what it could not see, it says
        assert done.stdout.startswith("1 cell") and key in done.stderr
        return
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("lorabench: ") and key in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_task_without_a_test_set_is_one_line(lorabench, tmp_path):
    done = lorabench("task", MINE + f"train: {{path: {tmp_path}}}", *SMALL)
    assert done.returncode == 2
    assert done.stderr == "lorabench: task=mine has no test problem\n"


@pytest.mark.parametrize("yaml", ["path: {0}\ntest: {{sums: {{}}}}", "train: {{path: {0}}}\ntest: {{sums: {{path: {0}}}}}"])
def test_a_task_of_ones_own_is_trained_and_scored(lorabench, tmp_path, yaml):
    done = lorabench("task", MINE + yaml.format(tmp_path), *SMALL)
    assert done.returncode == 0, done.stderr
    [record] = records(tmp_path)
    assert record["metrics"]["test"]["sets"]["sums"]["n"] == 2


def test_a_key_that_the_chosen_task_lacks_is_one_line(lorabench):
    done = lorabench("task", MINE, "task.test_samples=2")
    assert done.returncode == 2
    line = "the chosen task has no task.test_samples: give it in its yaml, or write +task.test_samples=VALUE"
    assert done.stderr == f"lorabench: {line}\n"
