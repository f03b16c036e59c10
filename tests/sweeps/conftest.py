"""A small Hydra application for the sweepers: real processes, a cheap objective."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
APP = """
import math, os, sys
import hydra
import numpy as np
from sweeps.search.base import Search, untried
from sweeps.errors import SweepError

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open("calls.txt", "a") as file:
        file.write(f"{cfg.rank} {cfg.alpha} {cfg.lr}{' whole' if cfg.whole else ''}\\n")
    if os.environ.get("DIE_AT") == str(sum(1 for _ in open("calls.txt"))):
        os._exit(9)
    if cfg.lr > 0.005 or cfg.whole and cfg.rank == cfg.bad:
        raise ValueError("too high")
    if cfg.kind:
        return {"none": None, "text": "nan", "truth": True, "numpy": np.float32(0.5)}[cfg.kind]
    return float("nan") if cfg.rank == 64 else -abs(math.log(cfg.lr / 3e-4)) - abs(math.log(cfg.rank / 8))

class Echo(Search):  # its questions follow from every score of the history

    def __init__(self, space, seed, extra=0):
        super().__init__(space, seed)

    def check(self):
        if os.environ.get("MISSING"):
            raise SweepError("no encoder")

    def fingerprint(self):
        return {"text": open("text.txt").read() if os.path.exists("text.txt") else ""}

    def ask(self, history):
        if os.environ.get("DIE_ASKED") == str(len(history)):
            os._exit(9)
        scores = [0 if score is None else int(1e6 * abs(score)) for _, score in history]
        return int(np.random.default_rng([self.seed, *scores]).choice(np.flatnonzero(untried(self.space, history))))

def identity(config):
    return {key: value for key, value in config.items() if key != "plan"}

def preflight(configs, expected=None, elsewhere=False):
    with open("checked.txt", "w") as file:
        file.writelines(f"{c['rank']} {c['lr']}\\n" for c in configs)
    plan = any(config["plan"] for config in configs)
    if plan:
        print("expected", [f"{c.rank} {c.lr}{' whole' if c.whole else ''}" for c in expected()])
    return not plan

def finished(configs):
    scores = {(rank, lr): float(score) for rank, lr, score in map(str.split, open("finished.txt"))} if os.path.exists("finished.txt") else {}
    return [scores.get((str(c["rank"]), str(c["lr"]))) for c in configs]

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
kind: null
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
    finished: {_target_: app.finished, _partial_: true}
    full: [whole=true]
    params: {lr: "1e-5,1e-4,3e-4,1e-3,3e-3", rank: "2,4,8,16,32"}
"""
# As submitit: a job that is killed is an exception of the whole batch, out of which no other result comes.
LAUNCHER = """
import os
from hydra._internal.core_plugins.basic_launcher import BasicLauncher

class KillingLauncher(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        with open("batches.txt", "a") as file:
            file.write(f"{len(job_overrides)}\\n")
        killed = [cell for cell in job_overrides if os.environ["KILLED"] in cell]
        jobs = super().launch([cell for cell in job_overrides if cell not in killed], initial_job_idx)
        if killed:
            raise {"": RuntimeError, "interrupt": KeyboardInterrupt}[os.environ.get("HOW", "")]("job 7\\nout of memory\\nlog")
        return jobs
"""


def objective(call):
    """What the application gives for a line of ``app.calls()``, from its definition."""
    rank, _, lr = map(float, call.split()[:3])
    return -abs(math.log(lr / 3e-4)) - abs(math.log(rank / 8))


@pytest.fixture(scope="session")
def loaded():
    """The embedded model as an encoder's parts, loaded once; its positions are rotary, and reach beyond the 1,024 it states."""
    from lorabench.encoder import Frozen

    model, tokenizer, fingerprint, limit, folder = Frozen("tiny")()
    assert limit == 1024
    return model, tokenizer, fingerprint, 2048, folder


class Source:
    """An encoder that is loaded already: model, tokenizer, fingerprint, limit and the folder of its embeddings."""

    def __init__(self, parts, folder, causal=True):
        self.parts, self.causal = (*parts[:4], folder), causal

    def __call__(self):
        return self.parts


@pytest.fixture
def source(tmp_path):
    """Makes an encoder of loaded parts, whose embeddings are the test's own."""
    return lambda parts, causal=True: Source(parts, tmp_path, causal)


@pytest.fixture
def app(tmp_path):
    """A folder with the application; returns a function that runs it."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "killing.py").write_text(LAUNCHER)
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "conf" / "hydra" / "launcher" / "killing.yaml").write_text("_target_: hydra_plugins.killing.KillingLauncher")
    (tmp_path / "conf" / "hydra" / "sweeper").mkdir(parents=True)
    for file in (ROOT / "conf" / "hydra" / "sweeper").glob("*.yaml"):
        (tmp_path / "conf" / "hydra" / "sweeper" / file.name).write_text(file.read_text())

    def run(*overrides, method="random", env=None):
        other = "identity: " if method == "grid" else "finished: "  # of which it has no use
        lines = [line for line in CONFIG.splitlines() if other not in line]
        (tmp_path / "conf" / "config.yaml").write_text("\n".join(lines).replace("METHOD", method))

        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "HYDRA_FULL_ERROR": "1"} | (env or {})
        command = [sys.executable, "app.py", "-m", *overrides]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    def answers():
        """The answers in the only journal."""
        [journal] = (tmp_path / "out" / "search").glob("*.jsonl")
        return [line for line in map(json.loads, journal.read_text().splitlines()) if "tell" in line]

    run.folder, run.answers, run.objective = tmp_path, answers, objective
    run.results = lambda name="optimization_results.yaml": yaml.safe_load((tmp_path / "out" / name).read_text())
    run.calls = lambda: (tmp_path / "calls.txt").read_text().splitlines() if (tmp_path / "calls.txt").exists() else []
    return run
