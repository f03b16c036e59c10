"""W&B's own package, offline: what a run's file holds."""

import contextlib
import json
import os
import socket
from pathlib import Path

import pytest
from wandb_file import read_run

from lorabench.cells import run, stages
from lorabench.cells.session import current
from lorabench.errors import UserError
from lorabench.trackers import wandb as tracker
from lorabench.training.loop import Training

wandb = pytest.importorskip("wandb", reason="wandb is not installed (pip install 'lorabench[wandb]')")
SMALL = ["train_samples=40", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
OFFLINE = [*SMALL, "tracker=wandb", "tracker.mode=offline"]
MEASURED = {"seconds", "tokens_per_second", "scoring_seconds", "started", "finished", "peak_memory_bytes"}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No login, no reports of errors, and nothing that an earlier test learned of the service."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setattr(current(), "_memories", {})
    wandb.teardown()
    yield
    wandb.teardown()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))


def record_of(cell):
    return json.loads((cell.folder / "record.json").read_text())


def unmeasured(value):
    if isinstance(value, dict):
        return {key: unmeasured(item) for key, item in value.items() if key not in MEASURED}
    return value


def test_a_cell_is_a_run(cell, tmp_path, capfd, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plain = cell(*SMALL, "save_adapter=true", f"output_dir={tmp_path / 'a'}")
    run.run(plain)
    capfd.readouterr()
    made = cell(*OFFLINE, "save_adapter=true", "tracker.artifacts=true", f"output_dir={tmp_path / 'b'}")
    run.run(made)
    printed = capfd.readouterr()
    assert "wandb" not in printed.out + printed.err
    assert not list(Path.cwd().iterdir())
    record = record_of(made)
    assert unmeasured(record) == unmeasured(record_of(plain))

    [file] = files(tmp_path / "b")
    logged = read_run(file)
    assert logged["run"].run_id == made.id
    assert (logged["run"].project, logged["run"].run_group) == ("lorabench", "tiny · arithmetic")
    assert list(logged["run"].tags) == ["lora"]
    assert logged["run"].display_name == str(made)
    assert logged["run"].resume
    assert {key: logged["config"][key] for key in record["config"]} == record["config"]
    assert logged["config"]["cell"] == made.id
    assert list(logged["history"]) == [1, 2, 3, 4, 5]
    for key in ("loss", "grad_norm"):
        assert [[step, row[f"train/{key}"]] for step, row in logged["history"].items()] == record["training"][key]
    assert [[step, [row["train/lr"]]] for step, row in logged["history"].items()] == record["training"]["lr"]
    assert logged["history"][1]["train/lr"] == 0
    assert logged["history"][2]["train/lr"] == 3e-3
    summary = logged["summary"]
    for split in ("validation", "test"):
        assert summary[split] == record["metrics"][split]["mean"]
        assert summary[f"{split}/arithmetic"] == record["metrics"][split]["sets"]["arithmetic"]["score"]
        assert summary[f"base/{split}"] == record["base"][split]
    for key in ("seconds", "tokens_per_second", "peak_memory_bytes", "trainable_parameters"):
        assert summary[key] == record["training"][key]
    assert (summary["status"], logged["exit_code"]) == ("complete", 0)
    assert {"completions.jsonl.gz", "adapter/adapter_model.safetensors"} <= set(logged["artifacts"][f"cell-{made.id}"])

    run.run(made)
    assert files(tmp_path / "b") == [file]  # done before: not logged again


def test_settings_reach_the_run(cell, tmp_path):
    words = ["tracker.project=p", "tracker.entity=e", "tracker.group=g", "tracker.tags=[one,two]", "tracker.every=3"]
    run.run(cell(*OFFLINE, *words))
    logged = read_run(files(tmp_path)[0])
    assert (logged["run"].project, logged["run"].entity, logged["run"].run_group) == ("p", "e", "g")
    assert list(logged["run"].tags) == ["one", "two"]
    assert list(logged["history"]) == [3, 5]
    assert not logged["artifacts"]


def test_an_interrupted_cell_goes_on_in_its_run(cell, tmp_path, run_until):
    made = cell(*OFFLINE, "trainer.checkpoint_minutes=0")
    run_until(made, 3, KeyboardInterrupt)
    run.run(cell(*OFFLINE, "trainer.checkpoint_minutes=0"))
    runs = sorted((read_run(file) for file in files(tmp_path)), key=lambda logged: len(logged["history"]))
    assert [logged["run"].run_id for logged in runs] == [made.id, made.id]
    assert [(logged["summary"]["status"], logged["exit_code"]) for logged in runs] == [("interrupted", 130), ("complete", 0)]
    assert list(runs[1]["history"]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("diverged", 2)])
def test_what_went_wrong_is_marked(cell, tmp_path, monkeypatch, status, code):
    def broken(*_, **__):
        if status == "failed":
            raise RuntimeError("broken")
        return Training(diverged=True)

    monkeypatch.setattr(stages, "train", broken)
    with contextlib.suppress(RuntimeError):
        run.run(cell(*OFFLINE))
    logged = read_run(files(tmp_path)[0])
    assert (logged["summary"]["status"], logged["exit_code"]) == (status, code)
    assert (logged["summary"].get("error") or "").endswith(" in broken: RuntimeError: broken" if status == "failed" else "")


def test_a_service_that_is_down_is_asked_once_and_the_cells_are_logged_into_files(cell, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    online = [*SMALL, "tracker=wandb"]
    cells = [cell(*online), cell(*online, "seed=1")]
    modes, init = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **words: modes.append(words["mode"]) or init(**words))
    for made in cells:
        run.run(made)
        assert record_of(made)["status"] == "complete"
    assert modes == ["offline", "offline"]  # online, W&B would try for all of tracker.timeout
    [line] = [line for line in capfd.readouterr().err.splitlines() if "wandb" in line]
    assert line.startswith("tracker=wandb: no way to http://127.0.0.1:9 (Connection refused); ")
    assert line.endswith(f"from here on into files: `wandb sync {tmp_path}/wandb/offline-run-*` sends them")
    assert {read_run(file)["run"].run_id for file in files(tmp_path)} == {made.id for made in cells}


def test_a_service_that_answers_nothing_is_waited_for_once(cell, tmp_path, monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr(tracker, "ANSWER", 0.5)
        made = cell(*SMALL, "tracker=wandb", "tracker.timeout=2")
        run.run(made)
    assert record_of(made)["status"] == "complete"
    assert capfd.readouterr().err.count("from here on into files") == 1
    assert [read_run(file)["run"].run_id for file in files(tmp_path)] == [made.id]


def test_without_a_login_nothing_is_trained(cell, tmp_path):
    with pytest.raises(UserError, match=r"no login; run `wandb login`, or log into files with tracker\.mode=offline"):
        run.run(cell(*SMALL, "tracker=wandb"))
    assert not list(tmp_path.glob("*/lock"))


def test_wandb_that_breaks_fails_no_cell(cell, monkeypatch, capsys):
    def broken(*_, **__):
        raise AttributeError("no such thing")

    monkeypatch.setattr(wandb, "init", broken)
    made = cell(*OFFLINE)
    run.run(made)
    assert record_of(made)["status"] == "complete"
    assert capsys.readouterr().err.count(" in broken: AttributeError: no such thing") == 1
