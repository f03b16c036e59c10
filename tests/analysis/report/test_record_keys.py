"""What a real record holds: each key is shown somewhere, or here is why not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.read.load import load_records
from analysis.report.data import tree

ROOT = Path(__file__).resolve().parents[3]
FACTS = "the cell's own view in the report"
KEYS = {
    "schema_version": "none: how to read the record, checked in `read.record`",
    "id": "cells of the report; export",
    "status": "cells of the report; counts below tables",
    "config": FACTS,
    "identity": "settings and variants are told apart by it (`read.options`)",
    "metrics": "tables and figures; `--kind metrics`; " + FACTS,
    "error": FACTS,
    "versions": FACTS + "; compare; export",
    "git": FACTS + "; export",
    "data": FACTS,
    "model": FACTS,
    "device": FACTS + "; `--kind cost`; compare; export",
    "started": FACTS,
    "finished": FACTS + "; export",
    "base": "untouched base in titles, curves, `--kind metrics`",
    "validation_loss": "`--kind metrics`; --select-by validation_loss; " + FACTS,
    "validation_metric": FACTS + " (its name; the value is that of metrics.validation)",
    "evaluation.seconds": "`--kind cost`; " + FACTS,
    "evaluation.merged": "`--kind cost` (PSCP)",
    "evaluation.scoring_seconds": FACTS,
    "training.steps": "`--kind cost` (s a step); " + FACTS,
    "training.tokens": "`--kind cost` (tokens/s); " + FACTS,
    "training.target_tokens": FACTS,
    "training.padding_tokens": FACTS,
    "training.seconds": "`--kind cost`; " + FACTS,
    "training.tokens_per_second": FACTS,
    "training.peak_memory_bytes": "`--kind cost`; " + FACTS,
    "training.trainable_parameters": "`--kind cost`; " + FACTS,
    "training.optimizer": "`sharpness`, which sets another than AdamW apart; " + FACTS,
    "training.groups": FACTS + ", of several groups",
    "training.weights_sha256": "none: `lorabench verify` compares it",
    "training.loss": FACTS,
    "training.grad_norm": "none: trackers follow it; a curve that only explains a diverged run",
    "training.lr": "none: trackers follow it; the schedule is known from config and training.groups",
}
"""By key; of `evaluation` and `training` by the keys in them. `traceback` (of failed cells) is for whoever mends the code."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    words = ["train_samples=16", "batch_size=8", "task.test_samples=10", "task.validation_samples=10", f"output_dir={folder}"]
    done = subprocess.run([sys.executable, "-m", "lorabench", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_key_of_a_record_has_its_place(runs):
    [path] = runs.glob("*/record.json")
    record = json.loads(path.read_text())
    inside = {f"{part}.{key}" for part in ("evaluation", "training") for key in record[part]}
    assert {*record} - {"evaluation", "training"} | inside == KEYS.keys()


def test_the_cells_own_view_has_them(runs):
    [path] = runs.glob("*/record.json")
    record = json.loads(path.read_text())
    cells = tree(load_records(runs))["cells"]
    detail = cells["details"][0]
    facts = cells["common"] | {key: value for key, value in detail["facts"].items() if value is not None}
    assert facts["started"] == record["started"] and facts["validation metric"] == "arithmetic/validation"
    assert facts["data · fingerprint"] == record["data"]["fingerprint"]
    assert detail["scoring"] == record["evaluation"]["scoring_seconds"]
    assert detail["further"] == {"validation_loss": record["validation_loss"]}
    assert facts["optimizer"] == record["training"]["optimizer"] == "torch.optim.adamw.AdamW"
    for key in ("target_tokens", "padding_tokens", "tokens_per_second"):
        assert detail["training"][key] == record["training"][key]
