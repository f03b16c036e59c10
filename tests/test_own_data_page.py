"""docs/own-data.md: the files that it shows are written, and every command that it shows reads, divides and scores them."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lorabench import schema
from lorabench.cells.parts import build
from lorabench.schema import CONF
from lorabench.tasks.base import Task
from lorabench.tasks.own.shapes import MESSAGES, PROMPTS, RESPONSES
from lorabench.tasks.scorers import names

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "own-data.md").read_text()
FILES = dict(re.findall(r"^`([\w/.-]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S))
COMMANDS = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
COPIES = 12
"""Of each row, with a number behind its first text: the page shows two, and fewer than ten problems are not divided. Of a table two
copies share the last column, which is a group."""

schema.register()


def numbered(value, number):
    """A row with a number behind its first text that no role is; whether there was one."""
    if isinstance(value, str):
        return f"{value} ({number})", True
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    for key, item in items:
        changed, done = (item, False) if key in ("role", "from") else numbered(item, number)
        if done:
            copy = value.copy()
            copy[key] = changed
            return copy, True
    return value, False


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a user who has followed the page, with more rows of its kinds."""
    for name, content in FILES.items():
        lines = content.splitlines()
        if name.endswith(".jsonl"):
            lines = [json.dumps(numbered(json.loads(line), i)[0]) for i in range(COPIES) for line in lines]
        elif name.endswith(".csv"):
            header, *rows = csv.reader(lines)
            more = [[f"{row[0]} ({i})", *row[1:-1], f"{row[-1]}{i // 2}"] for i in range(COPIES) for row in rows]
            written = io.StringIO()
            csv.writer(written).writerows([header, *more])
            lines = written.getvalue().splitlines()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def task_of(command, folder):
    """What a command of the page makes of its data."""
    _, _, module, *words = shlex.split(command)
    assert module == "lorabench"
    if own := "--config-dir" in words:
        words = words[2:]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        place = [f"hydra.searchpath=[file://{folder / 'configs'}]"] if own else []
        config = OmegaConf.to_container(compose("config", [*place, *words]), resolve=True)
    return build(config["task"], "task", Task)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_reads_divides_and_scores(folder, command):
    task = task_of(command, folder)
    splits = task.train_examples(), task.validation_examples(), task.test_examples()
    assert all(splits)
    for example in splits[2]:
        assert task.proves_itself(example)
        assert task.parts(example)[-1].strip()


def of(words, folder):
    return task_of(f"python -m lorabench {words}", folder)


def test_what_the_page_says_of_its_examples(folder):
    [capitals, labelled, squad, own] = [
        next(c for c in COMMANDS if part in c) for part in ("capitals.jsonl", "labels", "squad", "marks:")
    ]
    task = task_of(capitals, folder)
    assert task.prompt(task.test_examples()[0]).startswith("Below is an instruction")
    task = task_of(labelled, folder)
    assert {example.answer for example in task.train_examples()} == {"bad", "good"}
    example = task.test_examples()[0]
    assert task.score(example, f"I think {example.answer}.") == 1
    task = task_of(squad, folder)
    example = next(e for e in [*task.train_examples(), *task.test_examples()] if e.answer == "Oslo")
    assert re.fullmatch(r"Nora flew to Oslo in May\. \(\d+\)\nQ: Where did Nora fly\?\nA:", task.prompt(example))
    assert [task.score(example, text) for text in ("Oslo", "to Oslo", "Bergen")] == [1, 1, 0]
    task = task_of(own, folder)
    example = task.test_examples()[0]
    assert [task.score(example, f"{word} it is") for word in (example.answer, "nowhere")] == [1, 0]


def test_a_group_stays_on_one_side(folder):
    task = task_of(next(c for c in COMMANDS if "group=film" in c), folder)
    sides = [
        {example.group for example in split}
        for split in (task.train_examples(), task.validation_examples(), task.test_examples())
    ]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_the_first_command_trains_a_cell(folder):
    words = [*shlex.split(COMMANDS[0])[1:], "train_samples=16", "task.max_new_tokens=4", "output_dir=runs"]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [record] = [json.loads(file.read_text()) for file in (folder / "runs").glob("*/record.json")]
    assert (record["status"], record["config"]["task"]["name"]) == ("complete", "capitals")


def test_the_tables_name_all_that_there_is():
    listed = set(re.findall(r"`([\w=:]+)`", PAGE))
    assert {*MESSAGES, *PROMPTS, *RESPONSES} <= listed
    scorers = {
        name.partition("=")[0] for row in re.findall(r"^\| (`.*?) \|", PAGE, re.M) for name in re.findall(r"`([\w=]+)`", row)
    }
    assert {*names(), "code", "judge"} <= scorers
    node = yaml.safe_load((CONF / "task" / "custom.yaml").read_text())
    assert set(node["columns"]) <= listed
    for key in (
        "train",
        "test",
        "columns",
        "labels",
        "template",
        "chat_template",
        "scorer",
        "skip_bad_rows",
        "max_new_tokens",
        "validation_samples",
    ):
        assert f"task.{key}" in PAGE, key
