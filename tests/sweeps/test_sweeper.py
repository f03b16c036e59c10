"""A search as a Hydra command, in a small application of its own: real processes, a cheap objective."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
APP = """
import math, os, sys
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open("calls.txt", "a") as file:
        file.write(f"{cfg.rank} {cfg.alpha} {cfg.lr}{' whole' if cfg.whole else ''}\\n")
    if os.environ.get("DIE_AT") == str(sum(1 for _ in open("calls.txt"))):
        os._exit(9)
    if cfg.lr > 0.005:
        raise ValueError("too high")
    return float("nan") if cfg.rank == 64 else -abs(math.log(cfg.lr / 3e-4)) - abs(math.log(cfg.rank / 8))

def preflight(configs, whole=True):
    return not any(config.plan for config in configs)

def report(configs, proxies):
    print("promoted", [f"{c.rank} {c.alpha} {c.lr}" for c in configs if c.whole], proxies)

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [{override hydra/sweeper: METHOD}, _self_]
lr: 1e-3
rank: 8
alpha: 8
plan: false
whole: false
hydra:
  output_subdir: null
  job: {chdir: false}
  sweep: {dir: out, subdir: .}
  run: {dir: .}
  sweeper:
    first_pass: []
    preflight: {_target_: app.preflight, _partial_: true}
    report: {_target_: app.report, _partial_: true}
    full: [whole=true]
    params: {lr: "1e-5,1e-4,3e-4,1e-3,3e-3", rank: "2,4,8,16,32"}
"""


@pytest.fixture
def app(tmp_path):
    """A folder with the application; returns a function that runs it."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conf" / "hydra" / "sweeper").mkdir(parents=True)
    for file in (ROOT / "conf" / "hydra" / "sweeper").glob("*.yaml"):
        (tmp_path / "conf" / "hydra" / "sweeper" / file.name).write_text(file.read_text())

    def run(*overrides, method="random", env=None):
        (tmp_path / "conf" / "config.yaml").write_text(CONFIG.replace("METHOD", method))
        import os

        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "HYDRA_FULL_ERROR": "1"} | (env or {})
        command = [sys.executable, "app.py", "-m", *overrides]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    run.folder = tmp_path
    run.calls = lambda: (tmp_path / "calls.txt").read_text().splitlines() if (tmp_path / "calls.txt").exists() else []
    return run


def results(app):
    return yaml.safe_load((app.folder / "out" / "optimization_results.yaml").read_text())


def test_the_budget_is_spent_and_the_best_is_written(app):
    done = app("hydra.sweeper.budget=7")
    assert done.returncode == 0, done.stderr
    calls = app.calls()
    assert len(calls) == len(set(calls)) == 7
    found = results(app)
    trials = [json.loads(line) for line in (app.folder / found["journal"]).read_text().splitlines()[1:]]
    scores = [line["score"] for line in trials if "tell" in line]
    assert found["best_evaluated_result"] == max(scores)
    assert found["evaluations"] == 7 and found["failed"] == 0
    asked = [line["overrides"] for line in trials if "ask" in line][found["evaluation"] - 1]
    assert [f"{key}={value}" for key, value in found["best_evaluated_params"].items()] == asked
    assert done.stderr.count("[7/7]") == 1


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_killed_search_goes_on_to_the_same_questions(app, method):
    if method == "tpe":
        pytest.importorskip("optuna", reason="pip install 'lorabench[search]' brings optuna")
    assert app("hydra.sweeper.budget=8", method=method).returncode == 0
    whole = app.calls()
    for name in ("calls.txt", f"out/search/{method}-seed0.jsonl"):
        (app.folder / name).unlink()
    assert app("hydra.sweeper.budget=8", method=method, env={"DIE_AT": "6"}).returncode == 9
    assert app("hydra.sweeper.budget=8", method=method).returncode == 0
    calls = app.calls()
    assert calls[:6] == whole[:6]  # the sixth was asked for and never answered: it is run again
    assert calls[6:] == whole[5:]


def test_a_larger_budget_goes_on(app):
    app("hydra.sweeper.budget=4")
    app("hydra.sweeper.budget=6")
    assert len(app.calls()) == len(set(app.calls())) == 6
    assert app("hydra.sweeper.budget=6").returncode == 0
    assert len(app.calls()) == 6


def test_methods_share_their_first_points_and_seeds_do_not(app):
    for module in ("optuna", "PyNomad"):
        pytest.importorskip(module, reason=f"pip install 'lorabench[search]' brings {module}")
    app("hydra.sweeper.budget=5", method="tpe")
    app("hydra.sweeper.budget=5", method="nomad")
    app("hydra.sweeper.budget=5", "hydra.sweeper.seed=1", method="nomad")
    calls = app.calls()
    assert calls[:5] == calls[5:10] != calls[10:]


def test_failures_count_and_too_many_stop_the_search(app):
    done = app("hydra.sweeper.budget=10", "lr=1e-4,3e-4,1e-2", "rank=8,16,64,128", "hydra.sweeper.max_failure_rate=1")
    assert done.returncode == 0, done.stderr
    found = results(app)
    failing = [call for call in app.calls() if float(call.split()[2]) > 0.005 or call.startswith("64 ")]
    assert found["failed"] == len(failing) > 0 and found["evaluations"] == 10
    stopped = app("hydra.sweeper.budget=10", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=other.jsonl")
    assert stopped.returncode != 0 and "3 of 3 evaluations failed" in stopped.stderr and "too high" in stopped.stderr


def test_several_at_a_time(app):
    assert app("hydra.sweeper.budget=7", "hydra.sweeper.parallel=3").returncode == 0
    assert len(set(app.calls())) == 7


def test_a_derived_key_reaches_the_job_and_its_factor_does_not(app):
    override = "+hydra.sweeper.derived={alpha: rank * alpha_mult}".replace("+", "")
    done = app("alpha_mult=0.5,2", "rank=4,8", "lr=1e-3", "hydra.sweeper.budget=4", override)
    assert done.returncode == 0, done.stderr
    assert sorted(app.calls()) == sorted(["4 2 0.001", "4 8 0.001", "8 4 0.001", "8 16 0.001"])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["lr=1e-3", "rank=8"], "nothing to search"),
        (["lr=interval(1e-5,1e-3)"], "lr: a search over listed candidates needs a list of values, not an interval"),
        (["hydra.sweeper.budget=26"], "hydra.sweeper.budget=26 is more than the 25 candidates"),
        (["hydra.sweeper.budget=0"], "must be at least 1"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.max_failure_rate=2"], "max_failure_rate=2 must be between 0 and 1"),
        (["hydra.sweeper.design=halton"], "hydra.sweeper.design=halton is none of sobol, random"),
    ],
)
def test_bad_input_runs_nothing(app, overrides, line):
    done = app(*overrides)
    assert done.returncode != 0 and line in done.stderr
    assert app.calls() == []


def test_a_journal_of_another_space_is_refused_and_kept(app):
    app("hydra.sweeper.budget=3")
    [journal] = (app.folder / "out" / "search").iterdir()
    before = journal.read_bytes()
    done = app("hydra.sweeper.budget=3", "rank=2,4,8")
    assert done.returncode != 0 and "is of another search (another space: rank)" in done.stderr
    assert journal.read_bytes() == before and len(app.calls()) == 3


def test_a_plan_asks_nothing(app):
    assert app("plan=true", "hydra.sweeper.budget=5").returncode == 0
    assert app.calls() == [] and not (app.folder / "out" / "search").exists()


def test_the_best_are_run_in_full_and_reported(app):
    done = app("hydra.sweeper.budget=9", "hydra.sweeper.promote=2")
    assert done.returncode == 0, done.stderr
    cheap, full = app.calls()[:9], app.calls()[9:]
    best = sorted(cheap, key=_score, reverse=True)[:2]
    assert full == [f"{call} whole" for call in best]
    assert f"promoted {best} {[_score(call) for call in best]}" in done.stdout
    assert results(app)["promoted_results"] == pytest.approx([_score(call) for call in best])


def test_a_grid_promotes_too_and_cells_without_a_score_never(app):
    done = app("lr=3e-4,1e-3", "rank=8,64", "hydra.sweeper.promote=3", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls()[4:] == ["8 8 0.0003 whole", "8 8 0.001 whole"]  # rank 64 gives NaN


def test_a_failed_promotion_is_told(app):
    done = app("lr=3e-4,1e-3", "rank=8,16", "hydra.sweeper.promote=1", "hydra.sweeper.full=['lr=0.1']", method="grid")
    assert done.returncode != 0 and "failed: rank=8" in done.stderr.replace("lr=0.0003 ", "") and "too high" in done.stderr
    assert app("hydra.sweeper.promote=-1").returncode != 0


def _score(call):
    """What the application's objective gives for a call, from its definition."""
    rank, _, lr = map(float, call.split()[:3])
    return -abs(math.log(lr / 3e-4)) - abs(math.log(rank / 8))
