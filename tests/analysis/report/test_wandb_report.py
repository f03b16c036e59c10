"""The report of peaks for W&B: what it says, what it shows, and how it is refused; no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.published import FOLDER as PUBLISHED
from analysis.read.load import load_records
from analysis.report.wandb import report, specification, summary
from analysis.stats.curves import settings
from analysis.style.palette import STYLES

ROOT = Path(__file__).resolve().parents[3]
SCORES = {"lora": (0.5, 0.8, 0.7), "pissa": (0.79, 0.75, 0.3)}
LRS = (6e-4, 2e-3, 6e-3)


@pytest.fixture
def sweep(runs, write):
    """Two variants, three learning rates, two seeds: selected lora 80.50 at 2e-3, pissa 79.50 at 6e-4."""
    for variant, scores in SCORES.items():
        for lr, score in zip(LRS, scores, strict=True):
            for seed in (0, 1):
                write(variant, lr, seed, score + 0.01 * seed, validation=score - 0.02)
    return runs


@pytest.fixture
def packages():
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed (pip install 'lorabench[wandb]')")


def analysis(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "-m", "analysis", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, env=clean | {"WANDB_ERROR_REPORTING": "false"} | environment,
    )  # fmt: skip


def blocks_of(spec, kind):
    return [block for block in spec["spec"]["blocks"] if block["type"] == kind]


def text_of(block):
    return "".join(child["text"] for child in block["children"])


def test_the_summary_has_the_numbers_of_the_records(sweep):
    [(setting, cells)] = settings(load_records(sweep))
    assert summary(setting, cells) == (
        "tiny · arithmetic, rank 8 · batch size 16 · 2400 samples · 1 epoch: 12 cells. Test score, learning rate chosen on "
        "validation: lora 80.50 % at lr 2e-3, pissa 79.50 % at lr 6e-4. Tuned, the 2 variants lie within 1.00 points; at one "
        "learning rate for all, they lie up to 40.00 apart. At the edge of the learning rates tried, so maybe not at its peak: pissa."
    )


def test_no_common_learning_rate_no_spread_at_one(runs, write):
    write("lora", 1e-3, 0, 0.8)
    write("pissa", 2e-3, 0, 0.7)
    [(setting, cells)] = settings(load_records(runs))
    assert "at one learning rate" not in summary(setting, cells)


def test_one_cell_is_not_cells(runs, write):
    write("lora", 1e-3, 0, 0.8)
    [(setting, cells)] = settings(load_records(runs))
    assert ": 1 cell. " in summary(setting, cells)


def test_panels_table_and_runs(sweep, packages):
    frame = load_records(sweep)
    spec = specification(report(frame, "bench", "me"))
    assert spec["project"] == {"name": "bench", "entityName": "me"}
    [paragraph] = [text_of(block) for block in blocks_of(spec, "paragraph") if text_of(block)]
    assert "lora 80.50 % at lr 2e-3" in paragraph
    table, notes = (block["content"] for block in blocks_of(spec, "markdown-block"))
    assert "| lora | 80.50 ± 0.71 | 2e-3 |" in table
    assert "| pissa | 79.50 ± 0.71 | 6e-4 |" in table
    assert "selected: test score at the learning rate" in notes

    [grid] = [block["metadata"] for block in blocks_of(spec, "panel-grid")]
    assert [runset["name"] for runset in grid["runSets"]] == ["lora", "pissa"]
    for runset in grid["runSets"]:
        assert runset["project"] == spec["project"]
        [condition] = runset["filters"]["filters"]
        ids = set(frame.loc[frame["variant"] == runset["name"], "id"])
        assert (condition["key"], condition["op"]) == ({"section": "run", "name": "name"}, "IN")
        assert set(condition["value"]) == ids
        assert {grid["customRunColors"][id] for id in ids} == {STYLES[runset["name"]].color}
    test, validation, loss = (panel["config"] for panel in grid["panelBankSectionConfig"]["panels"])
    for panel, score in ((test, "test"), (validation, "validation")):
        assert (panel["xAxis"], panel["yAxis"], panel["xAxisLogScale"]) == ("config:lr.value", f"summary:{score}", True)
    assert (loss["metrics"], loss["groupBy"]) == (["train/loss"], "variant.value.name")


def test_published_cells_have_a_table_and_no_runs(packages):
    spec = specification(report(load_records(PUBLISHED), "bench"))
    assert blocks_of(spec, "markdown-block") and not blocks_of(spec, "panel-grid")


def test_out_writes_a_file_without_login_or_server(sweep, packages, tmp_path):
    out = tmp_path / "report.json"
    dead = {"WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    done = analysis("wandb", sweep, "--project", "bench", "--out", out, **dead)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert json.loads(out.read_text())["project"]["name"] == "bench"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "not logged in to W&B: run `wandb login`, or write the report to a file with --out FILE"),
        ({"WANDB_MODE": "offline"}, "not logged in to W&B"),
        ({"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "short"}, "W&B did not take the report ("),
    ],
)
def test_without_login_or_server_one_line(sweep, packages, tmp_path, environment, message):
    done = analysis("wandb", sweep, HOME=str(tmp_path), NETRC=str(tmp_path / "netrc"), **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"lorabench: {message}")
    assert done.stderr.count("\n") == 1


def test_without_the_packages_one_line(sweep, tmp_path):
    (tmp_path / "wandb_workspaces.py").write_text("raise ImportError('no such package')\n")
    done = analysis("wandb", sweep, "--out", tmp_path / "a.json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        "lorabench: `python -m analysis wandb` needs wandb and wandb-workspaces: pip install 'lorabench[wandb]' (no such package)\n"
    )
