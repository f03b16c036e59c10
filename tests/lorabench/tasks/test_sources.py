"""What a config says of a source, and what a file holds: anything wrong is one line that names the key and a way out."""

import gzip
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lorabench.cells.parts import build
from lorabench.errors import UserError
from lorabench.records.identity import decisive
from lorabench.schema import CONF
from lorabench.tasks.alpaca import InstructionTask
from lorabench.tasks.base import Example, Task
from lorabench.tasks.math import Math
from lorabench.tasks.sourced import SourcedTask
from lorabench.tasks.sources.github import GitHubSource
from lorabench.tasks.sources.hub import HubSource
from lorabench.tasks.sources.local import LocalSource

HUB = {"hub": "owner/data", "revision": "c0ffee", "split": "train"}
GITHUB = {"github": "owner/repo", "revision": "c0ffee", "data_files": "dir/test.json"}


@dataclass(kw_only=True)
class Capitals(InstructionTask):
    """A task of a user's own, as the recipe has it."""

    def _example(self, row, name, place):
        self.require(row, f"{name}/{place}", "country", "capital", optional=("hint",))
        return Example(f"{name}/{place}", row["country"], row["capital"], row["capital"], name, group=row["country"])

    def source_examples(self):
        return [self._example(row, "train", i) for i, row in enumerate(self.rows("train"))]

    def all_test_examples(self):
        return [self._example(row, name, i) for name in self.used_sets for i, row in enumerate(self.rows(name))]

    def score(self, example, completion):
        return float(example.answer in completion)


def make(**keys):
    return Capitals(**{"name": "capitals", "max_new_tokens": 4, "validation_samples": 1, **keys})


def rows(n=4):
    return [{"country": f"C{i}", "capital": f"K{i}"} for i in range(n)]


def write(file: Path, content) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in content))
    return file


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, r"^task\.train has no source; give local files with task\.path=DIR or task\.train\.path=FILE, or give task\.train\.hub and task\.train\.revision and task\.train\.split$"),
        ({"train": None}, r"^task\.train has no source; give local files with task\.path=DIR"),
        ({"train": {"path": None, "hub": None}}, r"^task\.train has no source;"),
        ({"train": {"hub": "owner/data"}}, r"^task\.train has hub=owner/data but no task\.train\.revision and no task\.train\.split; give it,"),
        ({"train": {**HUB, "revision": None}}, r"^task\.train has hub=owner/data, split=train but no task\.train\.revision; give it, or a local file with task\.train\.path=FILE$"),
        ({"train": {"github": "owner/repo"}}, r"^task\.train has github=owner/repo but no task\.train\.revision and no task\.train\.data_files"),
        ({"train": HUB, "test": {"europe": {}}}, r"^task\.test\.europe has no source; give local files with task\.path=DIR or task\.test\.europe\.path=FILE"),
        ({"train": HUB, "test": {"europe": None}}, r"^task\.test\.europe has no source;"),
        ({"train": HUB, "test": {"europe": {"rows": 5, "files": ["e"]}}}, r"^task\.test\.europe has no source;"),
    ],
)  # fmt: skip
def test_a_source_that_is_not_there_is_named_before_anything_is_read(keys, message):
    with pytest.raises(UserError, match=message):
        make(**keys).fingerprint()
    with pytest.raises(UserError, match=message):
        _ = make(**keys).test_examples() if "test" in keys else make(**keys).train_examples()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": {**HUB, "revison": "c0ffee"}}, r"^unknown key 'task\.train\.revison'; did you mean 'revision'\?$"),
        ({"train": {"path": "x", "fiels": ["a"]}}, r"^unknown key 'task\.train\.fiels'; did you mean 'files'\?$"),
        ({"train": {**HUB, "qqqq": 1}}, r"^unknown key 'task\.train\.qqqq'; available: config, data_files, files, hub, path, "),
        ({"test": {"europe": {**GITHUB, "split": "a"}}}, r"^unknown key 'task\.test\.europe\.split'; available: data_files, "),
        ({"train": {**HUB, 3: 1}}, r"^unknown key 'task\.train\.3'"),
        ({"train": {**HUB, "revision": 1234567}}, r"^task\.train\.revision=1234567 must be a text; put it into quotes$"),
        ({"train": {**HUB, "rows": "many"}}, r"^task\.train\.rows=many must be a whole number above 0$"),
        ({"train": {**HUB, "rows": 0}}, r"^task\.train\.rows=0 must be a whole number above 0$"),
        ({"train": {**HUB, "config": 3}}, r"^task\.train\.config=3 must be a name or a list of names$"),
        ({"train": {**HUB, "files": "train"}}, r"^task\.train\.files=train must be a list of names without suffix$"),
        ({"train": {**HUB, "files": []}}, r"^task\.train\.files=\[\] must be a list"),
        ({"train": {**HUB, "path": 3}}, r"^task\.train\.path=3 must be a text"),
        ({"train": "data/train.jsonl"}, r"^task\.train=data/train\.jsonl is no source; for a local file write task\.train\.path=data/train\.jsonl$"),
        ({"train": 3}, r"^task\.train=3 is no source"),
        ({"train": HUB, "test": {"europe": "e.jsonl"}}, r"^task\.test\.europe=e\.jsonl is no source; for a local file write task\.test\.europe\.path="),
        ({"test": "e.jsonl"}, r"^task\.test=e\.jsonl must hold test sets by name; for a local file write task\.test\.NAME\.path=FILE$"),
        ({"test": ["europe"]}, r"^task\.test=\['europe'\] must hold test sets by name"),
        ({"test": None}, r"^task\.test=None must hold test sets by name"),
        ({"path": 3}, r"^task\.path=3 must be a folder$"),
        ({"test": {"europe": HUB}, "sets": "europe"}, r"^task\.sets must be a list; write task\.sets=\[europe\]$"),
        ({"test": {"europe": HUB}, "sets": 3}, r"^task\.sets must be a list; write task\.sets=\[3\]$"),
        ({"test": {"europe": HUB}, "sets": ["asia"]}, r"^task\.sets=asia: task=capitals has no such test set; available: europe$"),
        ({"test": {"europe": HUB}, "sets": []}, r"^task\.sets is empty; give some of europe, or null for all$"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_when_the_task_is_built(keys, message):
    node = {"_target_": f"{__name__}.Capitals", "name": "capitals", "max_new_tokens": 4, "validation_samples": 1} | keys
    with pytest.raises(UserError, match=message):
        build(node, "task", Task)


def test_what_is_given_is_read(tmp_path):
    for stem, n in (("train", 5), ("europe", 3), ("world", 2)):
        write(tmp_path / f"{stem}.jsonl", rows(n))
    task = make(path=str(tmp_path), test={"europe": None, "asia": {"files": ["nowhere", "world"]}})
    assert (len(task.train_examples()), len(task.validation_examples()), len(task.test_examples())) == (4, 1, 5)
    assert [example.set for example in task.test_examples()] == ["europe"] * 3 + ["asia"] * 2
    alone = make(train={"path": str(tmp_path / "train.jsonl")}, test={"europe": {"path": str(tmp_path), **HUB}})
    assert [example.id for example in alone.test_examples()] == ["europe/0", "europe/1", "europe/2"]
    assert make(path=str(tmp_path)).test_examples() == []  # which a cell refuses


def test_every_kind_of_source_is_found_by_its_keys():
    config = ["main", "more"]
    task = make(train={**HUB, "config": config, "rows": 9, "path": None}, test={"a": {**GITHUB, "rows": 3, "files": ["a"]}})
    assert task._source("train") == HubSource("owner/data", "c0ffee", "train", config=config, rows=9)
    assert task._source("a") == GitHubSource("owner/repo", "c0ffee", "dir/test.json", rows=3)
    assert task.fingerprint() == "train=owner/data@c0ffee/main+more/train a=owner/repo@c0ffee/dir/test.json/"
    assert task.train_size() == 8


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "task").glob("*.yaml")))
def test_the_sources_of_every_yaml_are_checked_and_complete(name):
    task = build(yaml.safe_load((CONF / "task" / f"{name}.yaml").read_text()), "task", Task)
    if isinstance(task, SourcedTask):
        assert task.fingerprint().startswith("train=")
        assert all(task._source(source).fingerprint("") for source in task._nodes)
        node = yaml.safe_load((CONF / "task" / f"{name}.yaml").read_text())
        node["train"]["revison"] = "c0ffee"
        with pytest.raises(UserError, match=r"unknown key 'task\.train\.revison'; did you mean 'revision'\?"):
            build(node, "task", Task)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"country": "C"}, "row train/0 has the columns country; wanted country, capital"),
        ({}, "row train/0 has the columns none; wanted country, capital"),
        ({"country": "C", "capital": None}, "row train/0 has capital='None'; wanted a text"),
        ({"country": 5, "capital": "K"}, "row train/0 has country='5'; wanted a text"),
        ({"country": "C", "capital": "K", "hint": [1]}, r"row train/0 has hint='\[1\]'; wanted a text"),
    ],
)
def test_a_row_that_the_task_cannot_read_is_named(tmp_path, row, message):
    write(tmp_path / "train.jsonl", [row])
    with pytest.raises(UserError, match=f"^task=capitals: {message}$"):
        make(path=str(tmp_path)).train_examples()


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("train", {"query": "Q", "response": None}, "row train/0 has response='None'"),
        ("train", {"query": "Q", "response": "R", "original_question": 3}, "row train/0 has original_question='3'"),
        ("train", {"question": "Q", "answer": 5}, "row train/0 has answer='5'"),
        ("gsm8k", {"question": "Q", "answer": 5}, "row gsm8k/0 has answer='5'"),
        ("svamp", {"problem": "Q", "answer": "5"}, r"row svamp/0 has the columns answer, problem; wanted question and answer \(GSM8K\)"),
        ("gsm8k", {"instruction": None, "output": "5"}, "row gsm8k/0 has instruction='None'"),
    ],
)  # fmt: skip
def test_a_number_where_math_wants_a_text_is_named(tmp_path, form, row, message):
    write(tmp_path / f"{form}.jsonl", [row])
    task = Math(name="math", max_new_tokens=4, validation_samples=1, path=str(tmp_path), test={form: {}})
    with pytest.raises(UserError, match=message):
        _ = task.train_examples() if form == "train" else task.test_examples()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.json", b'{"a": 1}', "must hold a list of objects"),
        ("train.json", b"[1]", "must hold a list of objects"),
        ("train.json", b"", "is not valid JSON"),
        ("train.jsonl", b"\xff\xfe", "is not valid JSON"),
        ("train.jsonl.gz", b"plain", "is not valid JSON"),
        ("train.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-9], "is not valid JSON"),
        ("train.jsonl.gz", gzip.compress(b'{"a": 1}' * 99, mtime=0)[:12] + b"\xff" * 9, "is not valid JSON"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, content, message):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        LocalSource(str(tmp_path), ["train"]).load("task.path")
    assert str(tmp_path / file) in str(caught.value) and "\n" not in str(caught.value)


def test_where_a_copy_lies_and_how_many_rows_to_expect_decide_nothing():
    def kept(**changed):
        values = {"path": "here", "train": {**HUB, "path": "a", "files": ["b"], "rows": 3, **changed}, "test": {"e": HUB}}
        return decisive(values, Capitals)

    assert kept() == {"train": HUB, "test": {"e": HUB}}
    assert kept(path="b", rows=4, files=None) == kept()
    assert kept(split="test") != kept()


OWN = """
from lorabench.tasks.math import Math

class Mine(Math):
    version = 1
"""
YAML = "_target_: mine.Mine\nname: mine\nmax_new_tokens: 4\nvalidation_samples: 1\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "lorabench: task.train has no source; give local files with task.path=DIR or task.train.path=FILE, or give "),
        ("train: {path: TRAIN}\ntest: {svamp: {}}\n", "lorabench: task.test.svamp has no source; give local files with "),
    ],
)  # fmt: skip
def test_on_the_command_line_it_is_one_line(tmp_path, lines, message):
    (tmp_path / "task").mkdir()
    (tmp_path / "mine.py").write_text(OWN)
    train = write(tmp_path / "train.jsonl", [{"question": f"Q{i}", "answer": f"A\n#### {i}"} for i in range(4)])
    (tmp_path / "task" / "mine.yaml").write_text(YAML + lines.replace("TRAIN", str(train)))
    command = [sys.executable, "-m", "lorabench", "task=mine", "train_samples=null", f"output_dir={tmp_path / 'runs'}"]
    command += [f"--config-dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(message)
    assert not done.stdout
