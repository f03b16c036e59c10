"""A search as a Hydra command, in a small application of its own: real processes, a cheap objective."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweeps.journal import held
from sweeps.promotion import Promotion

ROOT = Path(__file__).resolve().parents[2]
APP = """
import math, os, sys
import hydra
import numpy as np
from sweeps.search.base import Search, untried
from sweeps.space import SpaceError

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open("calls.txt", "a") as file:
        file.write(f"{cfg.rank} {cfg.alpha} {cfg.lr}{' whole' if cfg.whole else ''}\\n")
    if os.environ.get("DIE_AT") == str(sum(1 for _ in open("calls.txt"))):
        os._exit(9)
    if cfg.lr > 0.005 or cfg.whole and cfg.rank == cfg.bad:
        raise ValueError("too high")
    return float("nan") if cfg.rank == 64 else -abs(math.log(cfg.lr / 3e-4)) - abs(math.log(cfg.rank / 8))

class Told(Search):  # its questions follow from every score it was told

    def __init__(self, space, seed, extra=0):
        super().__init__(space, seed)

    def check(self):
        if os.environ.get("MISSING"):
            raise SpaceError("no encoder")

    def fingerprint(self):
        return {"text": open("text.txt").read() if os.path.exists("text.txt") else ""}

    def ask(self, history):
        if os.environ.get("DIE_ASKED") == str(len(history)):
            os._exit(9)
        scores = [0 if one.score is None else int(1e6 * abs(one.score)) for one in history]
        return int(np.random.default_rng([self.seed, *scores]).choice(np.flatnonzero(untried(self.space, history))))

def identity(config):
    return {key: value for key, value in config.items() if key != "plan"}

def preflight(configs, whole=True):
    with open("checked.txt", "w") as file:
        file.writelines(f"{c.rank} {c.lr}\\n" for c in configs)
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
bad: 0
seed: 0
hydra:
  output_subdir: null
  job: {chdir: false}
  sweep: {dir: out, subdir: .}
  run: {dir: .}
  sweeper:
    first_pass: []
    preflight: {_target_: app.preflight, _partial_: true}
    report: {_target_: app.report, _partial_: true}
    identity: {_target_: app.identity, _partial_: true}
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
        lines = [
            line for line in CONFIG.splitlines() if method != "grid" or "identity" not in line
        ]  # which a grid has no use for
        (tmp_path / "conf" / "config.yaml").write_text("\n".join(lines).replace("METHOD", method))
        import os

        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "HYDRA_FULL_ERROR": "1"} | (env or {})
        command = [sys.executable, "app.py", "-m", *overrides]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    run.folder = tmp_path
    run.calls = lambda: (tmp_path / "calls.txt").read_text().splitlines() if (tmp_path / "calls.txt").exists() else []
    return run


TOLD = "hydra.sweeper.method._target_=app.Told"


def results(app, name="optimization_results.yaml"):
    return yaml.safe_load((app.folder / "out" / name).read_text())


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
    [asked] = [line["overrides"] for line in trials if "ask" in line][found["evaluation"] - 1]
    assert {key: type(value) for key, value in found["best_evaluated_params"].items()} == {"lr": float, "rank": int}
    assert found["best_evaluated_params"] == {key: float(text) for key, text in (one.split("=") for one in asked)}
    assert results(app, "search/random-seed0.yaml") == found
    assert not list(app.folder.rglob("*.tmp"))
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
    for method in ("tpe", "nomad", "random"):
        assert app("hydra.sweeper.budget=5", method=method).returncode == 0
    app("hydra.sweeper.budget=5", "hydra.sweeper.seed=1", method="nomad")
    calls = app.calls()
    assert calls[:5] == calls[5:10] == calls[10:15] != calls[15:]
    names = {file.name for file in (app.folder / "out" / "search").glob("*.yaml")}
    assert names == {"tpe-seed0.yaml", "nomad-seed0.yaml", "random-seed0.yaml", "nomad-seed1.yaml"}


def test_another_search_does_not_go_on_from_the_journal(app):
    once = ("hydra.sweeper.budget=2", TOLD, "alpha=9", "bad=5")
    assert app(*once).returncode == 0
    (app.folder / "text.txt").write_text("edited")
    assert "(fingerprint.text  instead of edited)" in app(*once).stderr
    (app.folder / "text.txt").unlink()
    assert "(config.bad 5 instead of 6)" in app(*once, "bad=6").stderr
    assert "(settings.extra None instead of 1)" in app(*once, "+hydra.sweeper.method.extra=1").stderr
    assert len(app.calls()) == 2
    other_order = app("hydra.sweeper.budget=3", "plan=false", "bad=5", "alpha=9", TOLD)
    assert other_order.returncode == 0, other_order.stderr
    assert len(app.calls()) == 3


def test_the_order_of_axes_on_the_command_line_makes_no_other_search(app):
    assert app("hydra.sweeper.budget=2", "bad=1,2", "alpha=4,8").returncode == 0
    assert app("hydra.sweeper.budget=3", "alpha=4,8", "bad=1,2").returncode == 0
    assert len(app.calls()) == 3


def test_a_second_process_on_a_journal_ends_with_one_line(app):
    with held(app.folder / "out" / "search" / "random-seed0.jsonl"):
        done = app("hydra.sweeper.budget=3")
    assert done.returncode != 0 and "belongs to a search that is running" in done.stderr
    assert app.calls() == []


def test_a_kill_within_a_batch_changes_no_question(app):
    batches = ("hydra.sweeper.budget=9", "hydra.sweeper.parallel=3", "hydra.sweeper.initial=2", TOLD)
    assert app(*batches).returncode == 0
    whole = app.calls()
    for name in ("calls.txt", "out/search/random-seed0.jsonl"):
        (app.folder / name).unlink()
    assert app(*batches, env={"DIE_ASKED": "4"}).returncode == 9  # the second question of the second batch
    assert app(*batches, env={"DIE_AT": "7"}).returncode == 9  # in the third batch
    assert app(*batches).returncode == 0
    calls = app.calls()
    assert calls[:7] == whole[:7] and calls[7:] == whole[6:]


def test_failures_count_and_too_many_stop_the_search(app):
    done = app("hydra.sweeper.budget=10", "lr=1e-4,3e-4,1e-2", "rank=8,16,64,128", "hydra.sweeper.max_failure_rate=1")
    assert done.returncode == 0, done.stderr
    found = results(app)
    failing = [call for call in app.calls() if float(call.split()[2]) > 0.005 or call.startswith("64 ")]
    assert found["failed"] == len(failing) > 0 and found["evaluations"] == 10
    stopped = app("hydra.sweeper.budget=10", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=other.jsonl")
    assert stopped.returncode != 0 and "3 of 3 evaluations failed" in stopped.stderr and "too high" in stopped.stderr
    before = len(app.calls())
    again = app("hydra.sweeper.budget=10", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=other.jsonl")
    assert again.returncode != 0 and "3 of 3 evaluations failed" in again.stderr and len(app.calls()) == before


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
        (["hydra.sweeper.budget=0"], "hydra.sweeper.budget=0 must be a whole number of at least 1"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.seed=-1"], "hydra.sweeper.seed=-1 must be a whole number of at least 0"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.parallel=1.5"], "hydra.sweeper.parallel=1.5 must be a whole number"),
        (["hydra.sweeper.budget=5", "rank=range(1,1)"], "rank has no values to choose from: rank=range(1,1)"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.journal=conf/config.yaml"], "must not end in .yaml"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.max_failure_rate=2"], "max_failure_rate=2 must be between 0 and 1"),
        (["hydra.sweeper.design=halton"], "hydra.sweeper.design=halton is none of sobol, random"),
    ],
)
def test_bad_input_runs_nothing(app, overrides, line):
    done = app(*overrides)
    assert done.returncode != 0 and line in done.stderr.splitlines()[-1]
    assert app.calls() == []


def test_what_a_method_lacks_is_told_before_anything_runs(app):
    done = app("hydra.sweeper.budget=5", TOLD, env={"MISSING": "1"})
    assert done.returncode != 0 and done.stderr.splitlines()[-1].endswith("no encoder")
    assert app.calls() == [] and not (app.folder / "checked.txt").exists()


def test_a_journal_of_another_space_is_refused_and_kept(app):
    app("hydra.sweeper.budget=3")
    [journal] = (app.folder / "out" / "search").glob("*.jsonl")
    before = journal.read_bytes()
    done = app("hydra.sweeper.budget=3", "rank=2,4,8")
    assert done.returncode != 0 and "is of another search (another space: rank)" in done.stderr
    assert journal.read_bytes() == before and len(app.calls()) == 3


def test_a_plan_asks_nothing(app):
    done = app("plan=true", "hydra.sweeper.budget=5")
    assert done.returncode == 0
    assert "random: 5 evaluations of 25 candidates" in done.stderr and "planned) are 9 that show every value" in done.stderr
    checked = [line.split() for line in (app.folder / "checked.txt").read_text().splitlines()]
    assert len(checked) == 9 and {len(set(column)) for column in zip(*checked, strict=True)} == {5}
    assert app.calls() == [] and not (app.folder / "out" / "search").exists()


def test_the_best_are_run_in_full_and_reported(app):
    done = app("hydra.sweeper.budget=9", "hydra.sweeper.promote=2")
    assert done.returncode == 0, done.stderr
    cheap, full = app.calls()[:9], app.calls()[9:]
    best = sorted(cheap, key=_score, reverse=True)[:2]
    assert full == [f"{call} whole" for call in best]
    assert f"promoted {best} {[_score(call) for call in best]}" in done.stdout
    promoted = results(app)["promoted_results"]
    for found, call in zip(promoted, best, strict=True):
        rank, _, lr = map(float, call.split())
        assert found["params"] == {"lr": lr, "rank": rank, "whole": "true"}
        assert found["proxy"] == found["score"] == pytest.approx(_score(call))


def test_a_grid_promotes_too_and_cells_without_a_score_never(app):
    done = app("lr=3e-4,1e-3", "rank=8,64", "hydra.sweeper.promote=3", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls()[4:] == ["8 8 0.0003 whole", "8 8 0.001 whole"]  # rank 64 gives NaN


def test_a_failed_promotion_is_told(app):
    done = app("lr=3e-4,1e-3", "rank=8,16", "hydra.sweeper.promote=1", "hydra.sweeper.full=['lr=0.1']", method="grid")
    assert done.returncode != 0 and "failed: rank=8" in done.stderr.replace("lr=0.0003 ", "") and "too high" in done.stderr
    assert app("hydra.sweeper.promote=-1").returncode != 0


def test_a_failed_promotion_leaves_the_report_of_the_others(app):
    done = app("hydra.sweeper.budget=2", "hydra.sweeper.promote=2", "lr=3e-4", "rank=8,16", "bad=8")
    assert done.returncode != 0 and "1 of 2 cells failed" in done.stderr
    assert "promoted ['8 8 0.0003', '16 8 0.0003']" in done.stdout
    assert [one["score"] for one in results(app)["promoted_results"]] == [None, pytest.approx(_score("16 8 3e-4"))]


def test_a_configuration_is_promoted_once_with_all_its_seeds(app):
    done = app("lr=3e-4,1e-3", "rank=8", "seed=0,1", "hydra.sweeper.promote=1", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls()[4:] == ["8 8 0.0003 whole"] * 2


@pytest.mark.parametrize("file", ["grid", "search"])
def test_proxies_of_one_full_cell_promote_it_once(file):
    shipped = yaml.safe_load((ROOT / "conf" / "hydra" / "sweeper" / f"{file}.yaml").read_text())
    promotion = Promotion(2, shipped["full"], shipped["average"])
    cells = [
        [f"lr={lr}", f"train_fraction={part}", f"subset={subset}", "+subset.extra=1"]
        for lr in (1, 2, 3)
        for part in (0.05, 0.1)
        for subset in ("random", "tsds")
    ]
    scores = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4]
    found = promotion.choose(cells, scores)
    assert [one.overrides for one in found] == [["lr=1", *shipped["full"]], ["lr=2", *shipped["full"]]]
    assert [one.proxy for one in found] == [0.9, 0.8]


def test_a_lucky_seed_is_not_promoted():
    cells = [[f"lr={lr}", f"seed={seed}", "rank=8"] for lr in (1, 2) for seed in (0, 1, 2)]
    scores = [0.1, 0.95, 0.1, 0.6, float("nan"), 0.7]
    found = Promotion(1, ["train_fraction=1"], ["seed"]).choose(cells, scores)
    assert [one.overrides for one in found] == [["lr=2", f"seed={seed}", "rank=8", "train_fraction=1"] for seed in (0, 2)]
    assert [one.proxy for one in found] == pytest.approx([0.65, 0.65])


def _score(call):
    """What the application's objective gives for a call, from its definition."""
    rank, _, lr = map(float, call.split()[:3])
    return -abs(math.log(lr / 3e-4)) - abs(math.log(rank / 8))
