"""A record builds and calls nothing but this project's classes, and those of the folder that the command names."""

import json

import pytest
from trained_record import trained_record, with_part

from lorabench.errors import UserError
from lorabench.records.foreign import check_foreign

OWN = "class Task:\n    pass\n\n\ndef score(prompt, completion, response):\n    return 1\n"


@pytest.fixture
def record(tmp_path):
    return tmp_path / "record.json"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"task": {"_target_": "sympy.sympify"}}, "sympy.sympify"),
        ({"task": {"_target_": "lorabench.tasks.math.Math", "train": {"_target_": "subprocess.Popen"}}}, "subprocess.Popen"),
        ({"variant": {"parts": [{"_target_": "torch.load"}]}}, "torch.load"),
        ({"task": {"test": {"a": {"_target_": "pandas.read_pickle"}}}}, "pandas.read_pickle"),
        ({"task": {"scorer": "os:system"}}, "os:system"),
        ({"task": {"_target_": "hydra.utils.instantiate"}}, "hydra.utils.instantiate"),
        ({"task": {"_target_": "builtins.eval"}}, "builtins.eval"),
        ({"task": {"_target_": "nowhere_at_all.X"}}, "nowhere_at_all.X"),
        ({"task": {"_target_": ""}}, ""),
        ({"task": {"_target_": None}}, "None"),
        ({"task": {"_target_": "lorabench_evil.X"}}, "lorabench_evil.X"),
        ({"task": {"_target_": "__main__.X"}}, "__main__.X"),
    ],
    ids=str,
)
def test_what_is_not_ours_is_refused_and_not_imported(config, name, record, monkeypatch):
    monkeypatch.delenv("LORABENCH_CONFIG_DIR", raising=False)
    with pytest.raises(UserError) as refused:
        check_foreign(config, record)
    assert str(refused.value).startswith(f"{record} names {name}, which is not lorabench's")


def test_ours_are_built_and_texts_with_colons_are_texts(record):
    check_foreign({"task": {"_target_": "lorabench.tasks.math.Math", "scorer": "regex=a:b", "judge_url": "http://x:1"}}, record)
    check_foreign({"task": {"scorer": "number"}, "probe": {"_target_": "hessian.watch.Probe"}}, record)


def test_the_commands_folder_counts_and_the_working_folder_does_not(tmp_path, record, monkeypatch):
    (tmp_path / "marks_of_mine.py").write_text(OWN + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("LORABENCH_CONFIG_DIR", raising=False)
    config = {"task": {"_target_": "marks_of_mine.Task", "scorer": "marks_of_mine:score"}}
    with pytest.raises(UserError, match="name its folder with --config-dir"):
        check_foreign(config, record)
    monkeypatch.setenv("LORABENCH_CONFIG_DIR", str(tmp_path))
    check_foreign(config, record)
    assert not (tmp_path / "ran").exists()


def test_rescoring_and_sharpness_refuse_it(cell, tmp_path):
    from hessian.study.study import _cell
    from lorabench.cells.answers import write_completions
    from lorabench.cells.rescore import Rescoring
    from lorabench.cells.session import Session

    hostile = {"_target_": "subprocess.Popen", "name": "arithmetic", "args": ["touch", str(tmp_path / "ran")]}
    record = with_part(trained_record(cell()), "task", hostile)
    folder = tmp_path / record["id"]
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(record))
    write_completions(folder / "completions.jsonl.gz", [])
    (folder / "trained.safetensors").write_bytes(b"")
    for attack in (lambda: Rescoring(Session()).rescore(folder), lambda: _cell(str(folder))):
        with pytest.raises(UserError, match=r"names subprocess.Popen, which is not lorabench's"):
            attack()
    assert not (tmp_path / "ran").exists()
