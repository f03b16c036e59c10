"""The recipes of CONTRIBUTING.md, followed to the letter: what it says to write is written, what it says to run is run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["train_samples=64", "task.test_samples=5", "task.validation_samples=5"]
PACKAGES = ("lorabench", "conf", "sweeps", "hydra_plugins", "hessian", "analysis")


def recipes() -> dict[str, str]:
    """Code blocks by the file name in backticks on the line before."""
    return dict(re.findall(r"^`([\w/.-]+)`:\n\n```\w+\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S))


def python(*args: str, path: Path, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *args], capture_output=True, text=True, timeout=200, env=environment, **options
    )


def lorabench(*args: str, path: Path, **options) -> subprocess.CompletedProcess[str]:
    return python("lorabench", *SMALL, *args, path=path, **options)


def records(folder: Path) -> dict[str, dict]:
    """By variant."""
    records = [json.loads(file.read_text()) for file in folder.glob("*/record.json")]
    return {record["config"]["variant"]["name"]: record for record in records}


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources; the files of the recipes named are added to it."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def follow(*files: str) -> Path:
        for file in files:
            (tmp_path / file).write_text(recipes()[file])
        return tmp_path

    return follow


def test_every_recipe_is_followed_here():
    text = Path(__file__).read_text()
    assert [file for file in recipes() if f'"{file}"' not in text] == []


def test_a_variant_that_changes_the_start(checkout):
    folder = checkout("lorabench/variants/gaussian.py", "conf/variant/gaussian.yaml")
    done = lorabench("variant=lora,gaussian", "output_dir=runs", "-m", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    losses = {name: record["training"]["loss"] for name, record in records(folder / "runs").items()}
    assert losses["lora"][0] == losses["gaussian"][0]  # the same function at the start, on the same data
    assert losses["lora"][-1] != losses["gaussian"][-1]


def test_a_variant_that_changes_the_step(checkout):
    folder = checkout(
        *("lorabench/variants/two_rates.py", "conf/variant/two_rates.yaml"),
        *("lorabench/trackers/lines.py", "conf/tracker/lines.yaml"),
    )
    command = ["variant=lora,two_rates", "tracker=lines", "tracker.every=1", "output_dir=runs", "-m"]
    done = lorabench(*command, path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    by_name = records(folder / "runs")
    lora, two = by_name["lora"]["training"], by_name["two_rates"]["training"]
    assert [group["name"] for group in two["groups"]] == ["self_attn", "mlp"]
    assert two["groups"][1]["lr"] == pytest.approx(4 * two["groups"][0]["lr"]) == pytest.approx(4 * 2e-3)
    assert sum(group["parameters"] for group in two["groups"]) == two["trainable_parameters"] == lora["trainable_parameters"]
    for (_, (lora_rate,)), (_, (attention, mlp)) in zip(lora["lr"], two["lr"], strict=True):
        assert (attention, mlp) == (lora_rate, pytest.approx(4 * lora_rate))
    assert lora["loss"][:2] == two["loss"][:2] and lora["loss"][2:] != two["loss"][2:]  # the first step has the rate 0

    tracked = [json.loads(line) for line in (folder / "runs" / "tracked.jsonl").read_text().splitlines()]
    steps = [line for line in tracked if line["cell"] == by_name["two_rates"]["id"] and "step" in line]
    assert [[line["step"], [line["lr/self_attn"], line["lr/mlp"]]] for line in steps] == two["lr"]

    method = folder / "lorabench/variants/two_rates.py"
    method.write_text(method.read_text().replace('(("self_attn", lr)', '(("self_attn", lr / 2)'))
    again = lorabench(*command, path=folder, cwd=folder)
    assert again.returncode == 0, again.stderr
    finished = [line for line in again.stderr.splitlines() if line.startswith("[")]
    assert ["done before" in line for line in finished] == [True, False]  # lora's cell stands, the changed method's does not
    assert records(folder / "runs")["lora"]["id"] == by_name["lora"]["id"]
    assert len(list((folder / "runs").glob("*/record.json"))) == 3


def test_a_variant_outside_the_checkout(tmp_path):
    files = recipes()
    (tmp_path / "own" / "variant").mkdir(parents=True)
    (tmp_path / "own" / "gaussian.py").write_text(files["lorabench/variants/gaussian.py"])
    yaml = files["conf/variant/gaussian.yaml"].replace("lorabench.variants.gaussian", "gaussian")
    (tmp_path / "own" / "variant" / "gaussian.yaml").write_text(yaml)
    command = ["variant=gaussian", f"output_dir={tmp_path / 'runs'}", "--config-dir", str(tmp_path / "own")]
    done = lorabench(*command, path=ROOT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert records(tmp_path / "runs")["gaussian"]["config"]["variant"]["_target_"] == "gaussian.Gaussian"


def test_a_new_variant_is_written_runs_and_passes_its_test(checkout, tmp_path):
    folder = checkout()
    (folder / "tests" / "lorabench" / "variants").mkdir(parents=True)
    done = python("lorabench.new", "variant", "my_method", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    files = [Path(line).relative_to(folder) for line in done.stdout.splitlines() if line.startswith(str(folder))]
    names = ["lorabench/variants/my_method.py", "conf/variant/my_method.yaml", "tests/lorabench/variants/test_my_method.py"]
    assert [file.as_posix() for file in files] == names
    assert "my_method" in done.stdout.splitlines()[-1]
    ran = lorabench("variant=lora,my_method", "output_dir=runs", "-m", path=folder, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert records(folder / "runs").keys() == {"lora", "my_method"}
    tested = python("pytest", "-q", "-c", os.devnull, names[2], path=folder, cwd=folder)
    assert tested.returncode == 0, tested.stdout
    again = python("lorabench.new", "variant", "my_method", path=folder, cwd=folder)
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "there already" in again.stderr


def test_a_task(checkout):
    folder = checkout("lorabench/tasks/reverse.py", "conf/task/reverse.yaml")
    done = lorabench("task=reverse", "output_dir=runs", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    record = records(folder / "runs")["lora"]
    assert (record["metrics"]["test"]["sets"]["reverse"]["n"], record["status"]) == (5, "complete")


def test_a_model(checkout):
    folder = checkout("conf/model/small-llama.yaml")
    done = lorabench("model=small-llama", "model.weights=random", "lr=1e-3", "output_dir=runs", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert records(folder / "runs")["lora"]["model"]["name"] == "small-llama"


def test_a_tracker(checkout):
    folder = checkout("lorabench/trackers/lines.py", "conf/tracker/lines.yaml")
    done = lorabench("tracker=lines", "output_dir=runs", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "tracker=" not in done.stderr
    record = records(folder / "runs")["lora"]
    lines = [json.loads(line) for line in (folder / "runs" / "tracked.jsonl").read_text().splitlines()]
    assert {line["cell"] for line in lines} == {record["id"]}
    assert lines[0]["lr"] == record["config"]["lr"]
    assert [[line["step"], line["loss"]] for line in lines[1:-1]] == record["training"]["loss"][1::2]
    assert [[line["step"], [line["lr"]]] for line in lines[1:-1]] == record["training"]["lr"][1::2]
    assert (lines[-1]["status"], lines[-1]["test"]) == ("complete", record["metrics"]["test"]["mean"])
    assert "tracker" not in record["config"]


def test_a_search_method(checkout):
    folder = checkout("sweeps/search/nearby.py", "conf/hydra/sweeper/nearby.yaml")
    axes = ["lr=6e-4,2e-3,6e-3", "rank=4,8", "hydra.sweeper.initial=2", "hydra.sweeper.budget=3"]
    done = lorabench("hydra/sweeper=nearby", *axes, "output_dir=runs", "-m", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "runs").glob("*/record.json"))) == 3
    [journal] = (folder / "runs" / "search").glob("nearby-*.jsonl")
    assert '"nearby"' in journal.read_text().splitlines()[0]


def test_a_table_and_a_figure(checkout):
    folder = checkout("analysis/tables/diverged.py", "analysis/figures/splits.py")
    done = lorabench("variant=lora,pissa", "lr=2e-3,1e6", "output_dir=runs", "-m", path=folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    table = python("analysis", "table", "runs", "--kind", "diverged", path=folder, cwd=folder)
    assert table.returncode == 0, table.stderr
    assert re.findall(r"^(lora|pissa) +2 +(\S+)$", table.stdout, re.M) == [("lora", "50%"), ("pissa", "50%")]
    for command in ("table", "plot"):
        assert (
            "diverged" in (helped := python("analysis", command, "--help", path=folder, cwd=folder)).stdout or command == "plot"
        )
        assert "splits" in helped.stdout or command == "table"
    csv = python("analysis", "table", "runs", "--kind", "diverged", "--format", "csv", path=folder, cwd=folder)
    assert csv.returncode == 0, csv.stderr
    plot = python("analysis", "plot", "runs", "--kind", "splits", path=folder, cwd=folder)
    assert plot.returncode == 0, plot.stderr
    assert (folder / "runs" / "splits.png").stat().st_size > 5000
    (folder / "mine.py").write_text(recipes()["analysis/tables/diverged.py"])
    own = python("analysis", "table", "runs", "--kind", "mine.py", path=folder, cwd=folder)
    assert own.stdout == table.stdout
