"""What a config says of a source, and what a file holds: anything wrong is one line that names the key and a way out."""

import gzip
import json
import re
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
        ({"path": 3}, r"^task\.path=3 must be a text or null$"),
        ({"test": {"europe": HUB}, "sets": "europe"}, r"^task\.sets=europe must be a list of texts or null; write task\.sets=\[europe\]$"),
        ({"test": {"europe": HUB}, "sets": 3}, r"^task\.sets=3 must be a list of texts or null$"),
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


@pytest.mark.parametrize("name", sorted({file.stem for file in (CONF / "task").glob("*.yaml")} - {"custom"}))
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
        ({"country": "C"}, "has the columns country; wanted country, capital"),
        ({}, "has the columns none; wanted country, capital"),
        ({"country": "C", "capital": None}, "has capital=null; wanted a text"),
        ({"country": 5, "capital": "K"}, "has country=5; wanted a text"),
        ({"country": True, "capital": "K"}, "has country=true; wanted a text"),
        ({"country": "C", "capital": {"name": "K"}}, r'has capital=\{"name": "K"\}; wanted a text'),
        ({"country": "C", "capital": float("nan")}, "has capital=NaN; wanted a text"),
        ({"country": "C", "capital": "K", "hint": [1]}, r"has hint=\[1\]; wanted a text"),
        ({"country": "C", "capital": " \n"}, r'has the blank text capital=" \\n"'),
        (
            {"country": "\ud800", "capital": "K"},
            r"has a half of a surrogate pair \(\\ud800\) at character 0 of country, which is",
        ),
    ],
)
def test_a_row_that_the_task_cannot_read_is_named(tmp_path, row, message):
    for name, load in (("train", Capitals.train_examples), ("europe", Capitals.test_examples)):
        file = write(tmp_path / f"{name}.jsonl", [row])
        with pytest.raises(UserError) as caught:
            load(make(path=str(tmp_path), test={"europe": None}))
        assert re.match(rf"task=capitals: row {name}/0 \({file}, line 1\) {message}", str(caught.value))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("train", {"query": "Q", "response": None}, r"row train/0 \(.*, line 1\) has response=null"),
        ("train", {"query": "Q", "response": "R", "original_question": 3}, r"row train/0 \(.*, line 1\) has original_question=3"),
        ("train", {"query": "Q", "response": "R", "type": ["MATH"]}, r'has type=\["MATH"\]'),
        ("train", {"question": "Q", "answer": True}, "has answer=true"),
        ("gsm8k", {"question": "Q", "answer": float("nan")}, "has answer=NaN"),
        ("svamp", {"problem": "Q", "answer": "5"}, r"row svamp/0 \(.*, line 1\) has the columns answer, problem; wanted question and answer \(GSM8K\)"),
        ("gsm8k", {"instruction": None, "output": "5"}, r"row gsm8k/0 \(.*, line 1\) has instruction=null"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named_by_math(tmp_path, form, row, message):
    write(tmp_path / f"{form}.jsonl", [row])
    task = Math(name="math", max_new_tokens=4, validation_samples=1, path=str(tmp_path), test={form: {}})
    with pytest.raises(UserError, match=message):
        _ = task.train_examples() if form == "train" else task.test_examples()


DEEP = b"[" * 9999 + b"]" * 9999


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.json", b'{"a": 1}', "holds one object; it must hold a list of objects or one object a line"),
        ("train.json", b'{"rows":\n[{"a": 1}]}', "holds one object; it must hold"),
        ("train.jsonl", b'{\n"a": 1\n}', "holds one object; it must hold"),
        ("train.json", b"[1]", r", index 0, holds a number \(1\); it must hold an object for each example$"),
        ("train.jsonl", b'{"a": 1}\n\n["x"]\n', r", line 3, holds a list \(\[\"x\"\]\); it must hold"),
        ("train.json", b"", "is empty; it must hold"),
        ("train.jsonl", b"\n \r\n", "is empty; it must hold"),
        ("train.json", b"[ ]", "holds an empty list"),
        ("train.json", b'\n[{"a": 1},\n{"a": }]', r", line 3, is not valid JSON \(Expecting value at column 7: '}\]'\)"),
        ("train.jsonl", b'{"a": 1}\n\n{"a": 2\n{"a": 3}', r", line 3, is not valid JSON \(.* at column 8, the line's end\)"),
        ("train.jsonl", b'{"a": 1}\n' + b"\0" * 9, r", line 2, is not valid JSON \(NUL bytes at column 1\)"),
        ("train.jsonl", b'{"a": 1}\r\n{"a": "caf\xe9"}', ", line 2: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("train.jsonl", '{"a": 1}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("train.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}', ", line 2, has an object with the key 'a' twice"),
        ("train.jsonl", b'{"a": 1}\n{"a": ' + DEEP + b"}", ", line 2, holds lists or objects nested too deep to be read"),
        ("train.jsonl", b'{"a": ' * 9999 + b"1" + b"}" * 9999, ", line 1, holds lists or objects nested too deep to be read"),
        ("train.json", b'[{"a": ' + DEEP + b"}]", r"train\.json holds lists or objects nested too deep to be read"),
        ("train.jsonl", b'{"a": 1}\n{"a": -' + b"7" * 5000 + b"}", ", line 2, has a number of 5000 digits; write it as a text"),
        ("train.json", b'[{"a": ' + b"7" * 5000 + b"}]", r"train\.json has a number of 5000 digits; write it as a text"),
        ("train.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (
            "train.jsonl",
            b"question,answer\na,b\n",
            r", line 1, is not valid JSON \(Expecting value at column 1: 'question,answer'\)",
        ),
        ("train.jsonl.gz", b"plain", r", line 1, is not valid JSON"),
        ("train.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-9], "is a damaged or incomplete gzip file"),
        ("train.jsonl.gz", gzip.compress(b'{"a": 1}' * 99, mtime=0)[:12] + b"\xff" * 9, "is a damaged or incomplete gzip file"),
    ],
)
def test_a_damaged_file_is_named_with_its_row(tmp_path, file, content, message):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        LocalSource(str(tmp_path), ["train"]).load("task.path")
    assert str(tmp_path / file) in str(caught.value) and "\n" not in str(caught.value)


TWO = [{"a": "x"}, {"a": "y\u2028z"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TWO).encode()


@pytest.mark.parametrize(
    ("file", "content", "numbers"),
    [
        ("train.jsonl", b"\xef\xbb\xbf" + LINES, "line 1, line 2"),
        ("train.json", b"\xef\xbb\xbf" + json.dumps(TWO).encode(), "index 0, index 1"),
        ("train.jsonl", LINES + b"\n\n", "line 1, line 2"),
        ("train.jsonl", b"\n" + LINES.replace(b"\n", b"\r\n\r\n \t\r\n"), "line 2, line 5"),
        ("train.jsonl", LINES.replace(b"\n", b"\r"), "line 1, line 2"),
        ("train.jsonl", LINES.replace(b"}\n{", b"}\n\xef\xbb\xbf{"), "line 1, line 2"),
        ("train.jsonl", LINES.rstrip(), "line 1, line 2"),
        ("train.jsonl", json.dumps(TWO, indent=1).encode(), "index 0, index 1"),
        ("train.json", LINES, "line 1, line 2"),
        ("train.jsonl", gzip.compress(LINES, mtime=0), "line 1, line 2"),
        ("train.jsonl.gz", LINES, "line 1, line 2"),
        ("train.jsonl.gz", gzip.compress(LINES[:12], mtime=0) + gzip.compress(LINES[12:], mtime=0), "line 1, line 2"),
    ],
)
def test_what_is_unambiguous_is_read(tmp_path, file, content, numbers):
    (tmp_path / file).write_bytes(content)
    read = LocalSource(str(tmp_path), ["train"]).load("task.path")
    assert read == TWO
    assert ", ".join(row.number for row in read) == numbers


def test_a_number_outside_json_and_a_zero_character_are_read_where_no_task_minds(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"country": "C\\u0000", "capital": "K", "area": NaN}\n' * 2)
    [example] = make(path=str(tmp_path)).source_examples()[:1]
    assert example.question == "C\0"


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
