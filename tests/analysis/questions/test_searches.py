"""`python -m analysis search`: searches by method, beside paper 2's."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.questions.searches import text
from analysis.read.journals import Search

ROOT = Path(__file__).resolve().parents[3]


def search(method, seed, scores, best=("lr=2e-3",), key="k"):
    return Search(method, seed, "tiny · arithmetic · lr (9)", key, 9, scores, list(best), {})


def row(shown, method):
    (line,) = [line.split("  ") for line in shown.splitlines() if line.startswith(method)]
    return [part.strip() for part in line if part.strip()]


def test_mean_and_deviation_over_searches_and_the_best_configuration():
    searches = [
        search("gp", 0, [0.1, 0.5, 0.4, 0.7], ["lr=1e-3"]),
        search("gp", 1, [math.nan, 0.3, 0.9, 0.2], ["lr=6e-3"]),
        search("random", 0, [0.2, 0.1, 0.3], ["lr=2e-3"]),
    ]
    shown = text(searches)
    assert shown.startswith("tiny · arithmetic · lr (9)\n9 candidates\n")
    assert row(shown, "gp") == ["gp", "2", "4", "40.00 ± 14.14", "80.00 ± 14.14", "lr=6e-3"]
    assert row(shown, "random") == ["random", "1", "3", "20.00", "30.00", "lr=2e-3"]


def test_half_of_an_odd_number_is_rounded_up():
    assert row(text([search("gp", 0, [0.1, 0.2, 0.3])]), "gp")[3:5] == ["20.00", "30.00"]


def test_searches_of_other_spaces_have_their_own_table_and_lengths_are_told():
    shown = text([search("gp", 0, [0.1]), search("gp", 1, [math.nan, math.nan, 0.2]), search("tpe", 0, [0.3], key="other")])
    assert shown.count("9 candidates") == 2
    assert row(shown, "gp")[2:4] == ["1 to 3", "-"]


@pytest.mark.parametrize(("style", "best"), [("text", "62.93*"), ("markdown", "**62.93**"), ("latex", r"\textbf{62.93}")])
def test_paper_2_stands_beside(style, best):
    shown = text([search("gp", 0, [0.1])], published=True, style=style)
    assert shown.count("paper 2: llama-2-7b") == 4
    assert shown.count(best) == 3  # of the search methods, of tuned variants, of the ablation
    assert "7.662" in shown and "10.50" in shown


def test_a_real_search(tmp_path):
    """One command searches, the other shows what it found."""

    def run(*words):
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    cell = ["train_samples=16", "batch_size=8", "task.test_samples=10", "task.validation_samples=10", f"output_dir={tmp_path}"]
    process = run("lorabench", "hydra/sweeper=random", "lr=1e-3,2e-3", "rank=4,8", "hydra.sweeper.budget=2", *cell, "-m")
    assert process.returncode == 0, process.stderr
    shown = run("analysis", "search", str(tmp_path))
    assert shown.stdout.startswith("tiny · arithmetic · lr (2) × rank (2)\n4 candidates\n"), shown.stderr
    name, searches, evaluations, *_ = row(shown.stdout, "random")
    assert (name, searches, evaluations) == ("random", "1", "2")
    missing = run("analysis", "search", str(tmp_path / "missing"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert (
        missing.stderr
        == f"lorabench: {tmp_path / 'missing'} is not a directory: pass the output_dir of a search (runs by default)\n"
    )
