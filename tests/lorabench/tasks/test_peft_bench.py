"""PEFT-Bench's 27 sets: each yaml composes, names a pinned source, and reads rows of that set's columns as it should."""

import json
import re

import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml
from peft_bench_rows import MADE

from lorabench.cells.parts import build
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.records.identity import identity
from lorabench.schema import CONF
from lorabench.tasks.base import Task
from lorabench.tasks.custom import Custom

NAMES = sorted(file.stem for file in (CONF / "task" / "peft_bench").glob("*.yaml"))
COMMIT = re.compile("[0-9a-f]{40}")
LABELLED = [name for name in NAMES if "labels" in yaml.safe_load((CONF / "task" / "peft_bench" / f"{name}.yaml").read_text())]
OPEN = {"math_qa"}
"""Sets whose commit nobody could look up."""


def table(rows, types=()):
    made = pa.Table.from_pylist(rows)
    for name, kind in types:
        place = made.schema.get_field_index(name)
        made = made.set_column(place, name, made.column(name).cast(kind))
    return made


@pytest.fixture
def files(tmp_path):
    """A function that writes rows of a set as its files, for training and for test."""

    def write(name, suffix="parquet"):
        rows, types = MADE[name].rows, MADE[name].types
        paths = []
        for split, of_split in (("train", [rows[1], rows[0]]), ("test", rows)):  # other files, or they would be refused
            file = tmp_path / f"{split}.{suffix}"
            made = table(of_split, types)
            if suffix == "parquet":
                pyarrow.parquet.write_table(made, file)
            else:
                file.write_text("".join(json.dumps(row) + "\n" for row in made.to_pylist()))
            paths.append(f"task.{split}={file}")
        return paths

    return write


@pytest.fixture
def task(cell, files):
    def make(name, suffix="parquet") -> Custom:
        return build(cell(f"task=peft_bench/{name}", *files(name, suffix)).config["task"], "task", Task)

    return make


def test_all_sets_are_there():
    glue = "mnli qqp qnli sst2 stsb mrpc rte cola"
    superglue = "record multirc boolq wic wsc cb copa"
    others = "mmlu piqa siqa hellaswag winogrande openbookqa math_qa gsm8k svamp conala codealpacapy apps"
    assert sorted(f"{glue} {superglue} {others}".split()) == NAMES == sorted(MADE)
    assert len(NAMES) == 27


@pytest.mark.parametrize("name", NAMES)
def test_each_yaml_names_its_set_at_a_commit(cell, name):
    node = cell(f"task=peft_bench/{name}").config["task"]
    assert node["name"] == name
    if name in OPEN:
        with pytest.raises(
            UserError, match=r"^task\.train has hub=.* but no task\.train\.revision; give it, or a local file with"
        ):
            build(node, "task", Task).fingerprint()
        commit = "0123456789abcdef0123456789abcdef01234567"
        given = [f"task.{split}.revision={commit}" for split in ("train", "test")]
        node = cell(f"task=peft_bench/{name}", *given).config["task"]
    for split in ("train", "test"):
        assert COMMIT.fullmatch(node[split]["revision"])
    train, _, test = build(node, "task", Task).fingerprint().partition(" test=")
    assert train.startswith("train=") and train.removeprefix("train=") != test
    assert "${" not in train + test


def test_the_page_tells_what_the_yamls_have():
    page = (CONF.parent / "docs" / "peft-bench.md").read_text()
    rows = {
        cells[0].strip("`"): cells[1:]
        for cells in (line.strip("| ").split(" | ") for line in page.splitlines())
        if len(cells) == 6
    }
    assert rows.keys() - {"task=peft_bench/", "---|---|---|---|---|---"} == set(NAMES)
    for name in NAMES:
        node = yaml.safe_load((CONF / "task" / "peft_bench" / f"{name}.yaml").read_text())
        data, commit, splits, scorer, _ = rows[name]
        for split, stated in zip(("train", "test"), splits.split(" → "), strict=True):
            of_split = node[split]
            place = of_split.get("data_files", "")
            assert f"/{stated}" in place if place else stated == of_split["split"]
            hub, _, config = data.partition(" ")
            assert hub in place if place else hub == of_split["hub"]
            assert config.strip("()") == of_split.get("config", "")
            assert commit == (f"`{of_split['revision'][:8]}`" if name not in OPEN else "**give it**")
        assert scorer == f"`{node['scorer']}`"


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", NAMES)
def test_each_set_is_read_and_scored(task, name, suffix):
    made, read = MADE[name], task(name, suffix)
    first, second = read.test_examples()
    assert (read.prompt(first), read.target(first)) == (made.prompt, made.target)
    assert read.prompt(second) != made.prompt
    [train], [validation] = read.train_examples(), read.validation_examples()
    assert {read.prompt(train), read.prompt(validation)} == {read.prompt(first), read.prompt(second)}
    for example in (first, second, train, validation):
        assert read.proves_itself(example)
    for completion in (made.target, *made.right):
        assert read.score(first, completion) == 1, completion
    for completion, score in made.wrong.items():
        assert read.score(first, completion) == pytest.approx(score) and score < 1, completion
    assert read.score(first, read.target(second)) < 1
    assert read.validation == read.tested == "score"


@pytest.mark.parametrize("name", LABELLED)
def test_a_label_that_the_set_does_not_have_is_refused(cell, files, tmp_path, name):
    words = files(name)
    node = cell(f"task=peft_bench/{name}", *words).config["task"]
    column = node["columns"]["response"]
    rows = [row | {column: "9" if isinstance(row[column], str) else -1} for row in MADE[name].rows]  # -1: GLUE's of no label
    pyarrow.parquet.write_table(table(rows), tmp_path / "test.parquet")
    with pytest.raises(UserError, match=r"row test/0 .* has the response '(9|-1)', for which task\.labels has no text"):
        build(node | {"skip_bad_rows": False}, "task", Task).test_examples()


@pytest.mark.parametrize(
    ("name", "column", "value"), [("qqp", "question2", ""), ("conala", "rewritten_intent", None), ("apps", "solutions", "[]")]
)
def test_known_bad_rows_are_left_out_and_counted(cell, files, tmp_path, capsys, name, column, value):
    words = files(name)
    rows = [*MADE[name].rows, MADE[name].rows[0] | {column: value}]
    pyarrow.parquet.write_table(table(rows, MADE[name].types), tmp_path / "test.parquet")
    read = build(cell(f"task=peft_bench/{name}", *words).config["task"], "task", Task)
    assert len(read.test_examples()) == 2
    assert "1 of 3 rows of test are left out (task.skip_bad_rows=true)" in capsys.readouterr().err


def test_rows_of_one_passage_are_one_problem(cell, files, tmp_path):
    words = files("multirc")
    rows = MADE["multirc"].rows
    pyarrow.parquet.write_table(
        table([*rows, rows[0] | {"answer": "Oslo", "idx": {"paragraph": 0, "question": 1, "answer": 5}}]),
        tmp_path / "train.parquet",
    )
    other = [row | {"idx": row["idx"] | {"paragraph": 7 + row["idx"]["paragraph"]}} for row in rows]
    pyarrow.parquet.write_table(table(other), tmp_path / "test.parquet")
    read = build(cell("task=peft_bench/multirc", *words).config["task"], "task", Task)
    groups = {example.group for example in read.train_examples()}, {example.group for example in read.validation_examples()}
    assert sorted(map(sorted, groups)) == [["0"], ["1"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_local_copy_may_take_the_place_of_each_source(cell, files, name):
    words = [word.replace("=", ".path=", 1) for word in files(name)]
    read = build(cell(f"task=peft_bench/{name}", *words).config["task"], "task", Task)
    assert len(read.test_examples()) == 2


@pytest.mark.parametrize("name", NAMES)
def test_each_set_has_ids_of_its_own(cell, name):
    config = cell(f"task=peft_bench/{name}").config
    kept = identity(config, "weights", "data")["task"]
    assert kept["template"] and kept["scorer"] and kept["max_new_tokens"]
    assert "train" not in kept and kept.get("test") is None  # whose content is in the data's fingerprint


def test_a_cell_is_trained_on_one(cell, files, tmp_path):
    run(cell("task=peft_bench/record", *files("record"), "batch_size=1", "rank=2", "train_samples=null"))
    [record] = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    assert (record["status"], record["metrics"]["test"]["sets"]["record"]["n"]) == ("complete", 2)
