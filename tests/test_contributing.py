"""The recipes of CONTRIBUTING.md, followed to the letter on a copy of the sources."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["train_samples=64", "task.test_samples=5", "task.validation_samples=5"]


def blocks(text: str) -> dict[str, str]:
    """Code blocks by the file name in backticks on the line before."""
    return dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", text, re.M | re.S))


def lorabench(*args: str, path: Path, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lorabench", *SMALL, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, **options)


def records(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in folder.glob("*/record.json")]


def follow(group: str, name: str, folder: Path) -> None:
    """Copy the sources, and add to them the one file and the one yaml of a recipe."""
    for package in ("lorabench", "conf", "sweeps", "hydra_plugins"):
        shutil.copytree(ROOT / package, folder / package)
    files = blocks((ROOT / "CONTRIBUTING.md").read_text())
    recipe = {f"lorabench/{group}s/{name}.py", f"conf/{group}/{name}.yaml"}
    assert {file for file in files if file.split("/")[1].rstrip("s") == group} == recipe
    for file in recipe:
        (folder / file).write_text(files[file])


def test_a_variant_is_one_file_and_one_yaml(tmp_path):
    follow("variant", "gaussian", tmp_path)
    done = lorabench("variant=lora,gaussian", "output_dir=runs", "-m", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = {r["config"]["variant"]["name"]: r["training"]["loss"] for r in records(tmp_path / "runs")}
    assert losses["lora"][0] == losses["gaussian"][0]  # the same function at the start, on the same data
    assert losses["lora"][-1] != losses["gaussian"][-1]


def test_a_variant_outside_the_checkout(tmp_path):
    files = blocks((ROOT / "CONTRIBUTING.md").read_text())
    (tmp_path / "gaussian.py").write_text(files["lorabench/variants/gaussian.py"])
    (tmp_path / "variant").mkdir()
    yaml = files["conf/variant/gaussian.yaml"].replace("lorabench.variants.gaussian", "gaussian")
    (tmp_path / "variant" / "gaussian.yaml").write_text(yaml)
    done = lorabench("variant=gaussian", f"output_dir={tmp_path / 'runs'}", "--config-dir", str(tmp_path), path=tmp_path)
    assert done.returncode == 0, done.stderr
    [record] = records(tmp_path / "runs")
    assert record["config"]["variant"]["_target_"] == "gaussian.Gaussian"


def test_a_tracker_is_one_file_and_one_yaml(tmp_path):
    follow("tracker", "lines", tmp_path)
    done = lorabench("tracker=lines", "output_dir=runs", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tracker=" not in done.stderr
    [record] = records(tmp_path / "runs")
    lines = [json.loads(line) for line in (tmp_path / "runs" / "tracked.jsonl").read_text().splitlines()]
    assert {line["cell"] for line in lines} == {record["id"]}
    assert lines[0]["lr"] == record["config"]["lr"]
    assert [[line["step"], line["loss"]] for line in lines[1:-1]] == record["training"]["loss"][1::2]
    assert (lines[-1]["status"], lines[-1]["test"]) == ("complete", record["metrics"]["test"]["mean"])
    assert "tracker" not in record["config"]
