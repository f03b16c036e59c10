"""What a search asks of cells: what decides a score, and the table of what was promoted."""

import json
import shutil
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from lorabench.cells import promoted
from lorabench.cells.cell import Cell
from lorabench.models.locate import locate

SMALL = ["train_samples=64", "batch_size=8", "task.test_samples=4", "task.validation_samples=8"]


@pytest.fixture
def settings(cell):
    """A function from overrides to what decides the score of their cell."""
    return lambda *overrides: promoted.settings(OmegaConf.create(cell(*overrides).config))


def test_promotion_prints_the_test_scores_of_the_best(tmp_path):
    command = [sys.executable, "-m", "lorabench", f"output_dir={tmp_path}", *SMALL, "train_fraction=0.25", "lr=2e-3,2e-2", "-m"]
    done = subprocess.run([*command, "hydra.sweeper.promote=1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    [full] = [record for record in records if "test" in record["metrics"]]
    proxies = [record for record in records if "test" not in record["metrics"]]
    best = max(proxies, key=lambda r: r["metrics"]["validation"]["mean"])
    line = next(line for line in done.stderr.splitlines() if line.startswith("*"))
    scores = [f"{100 * r['metrics'][s]['mean']:.2f}" for r, s in ((best, "validation"), (full, "validation"), (full, "test"))]
    assert line.split()[1:4] == scores and line.split()[-1] == full["id"]


@pytest.mark.parametrize("words", [[], ["data_seed=0"]], ids=str)
def test_the_best_is_marked_by_the_mean_over_its_seeds(cell, monkeypatch, words):
    scores = {(2e-3, 0): 0.5, (2e-3, 1): 0.6, (6e-3, 0): 0.9, (6e-3, 1): 0.1, (2e-2, 0): None}

    def record(self):
        score = scores[self.settings.lr, self.settings.seed]
        return None if score is None else {"metrics": {"validation": {"mean": score}, "test": {"mean": score}}}

    monkeypatch.setattr(Cell, "record", record)
    cells = [cell(f"lr={lr}", f"seed={seed}", *words) for lr, seed in scores]
    lines = promoted.table(cells, [0.1] * 5).splitlines()[2:]
    assert [line[0] for line in lines] == ["*", "*", " ", " ", " "]
    assert lines[-1].split()[:3] == ["10.00", "-", "-"]


def test_what_decides_a_score_is_all_but_the_knobs(settings):
    knobs = ["output_dir=elsewhere", "device=cpu", "plan=true", "when_busy=defer", "save_adapter=true"]
    assert settings(*knobs, "trainer.micro_batch_tokens=7", "probe=hessian", "probe.tol=0.5") == settings()
    for words in ("lr=1", "model.weights=random", "task.test_samples=3", "trainer.max_length=9", "variant=pissa", "seed=1"):
        assert settings(words) != settings()


def test_weights_and_data_decide_a_score_wherever_they_lie(settings, cell, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(locate(cell().model), copy)
    assert settings(f"model.path={copy}") == settings()
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert settings(f"model.path={copy}") != settings()
    prints = []
    for number in (1, 1, 2):
        folder = tmp_path / f"data{len(prints)}"
        folder.mkdir()
        for split in ("train", "test"):
            (folder / f"{split}.jsonl").write_text(json.dumps({"question": "q", "answer": f"a\n#### {number}"}) + "\n")
        prints.append(settings("task=math", "task.sets=[gsm8k]", f"task.path={folder}")["task"])
    assert prints[0] == prints[1] != prints[2]
