"""The command line: a mistake in one line, a plan, and help at once."""

import os
import subprocess
import sys

import pytest


def lorabench(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, "-m", "lorabench", *args], capture_output=True, text=True, timeout=120, env=environment
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["variant=lorra"], "variant=lorra does not exist; did you mean 'lora'?"),
        (["model=tinny"], "model=tinny does not exist; did you mean 'tiny'?"),
        (["task=maths"], "task=maths does not exist; did you mean 'math'?"),
        (
            ["task=xyz"],
            "task=xyz does not exist; available: arithmetic, chat, code, commonsense, custom, instruct, math, peft_bench/NAME",
        ),
        (["task=sst2"], "task=sst2 does not exist; did you mean 'peft_bench/sst2'?"),
        (["task=peft_bench/sst"], "task=peft_bench/sst does not exist; did you mean 'peft_bench/sst2'?"),
        (["task=peft_bench"], "task=peft_bench does not exist; did you mean 'peft_bench/NAME'?"),
        (["task/peft_bench=sst2"], "task/peft_bench=sst2: a folder is part of the choice; write task=peft_bench/sst2"),
        (["hydra/sweeper=serch"], "hydra/sweeper=serch does not exist; did you mean 'search'?"),
        (["+experiment=gemma_math"], "experiment=gemma_math does not exist; did you mean 'gemma_math_"),
        (["batchsize=3"], "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (["trainer.warmup=3"], "unknown key 'trainer.warmup'; did you mean 'warmup_ratio'?"),
        (["variant.alfa=3"], "unknown key 'variant.alfa'; did you mean 'alpha'?"),
        (["lr=abc"], "lr=abc must be a number"),
        (["batchsize=3,4", "-m"], "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (["lr=1e-3,abc", "-m"], "lr=abc must be a number"),
        (["variant=lora,pisa", "-m"], "variant=pisa does not exist; did you mean 'pissa'?"),
        (
            ["lr=1e-3,-1", "-m"],
            "cell 2 of 2 (tiny arithmetic lora lr=-1e0 batch_size=8 rank=8 seed=0): lr=-1.0 must be greater than 0",
        ),
        (["hydra.sweeper.promot=1", "-m"], "unknown key 'hydra.sweeper.promot'; did you mean 'promote'?"),
        (["hydra/sweeper=random", "hydra.sweeper.budgt=1", "-m"], "unknown key 'hydra.sweeper.budgt'; did you mean 'budget'?"),
        (["hydra/sweeper=random", "+hydra.sweeper.budgt=1", "-m"], "unknown key 'hydra.sweeper.budgt'; did you mean 'budget'?"),
        (["hydra.sweeper.promote=abc", "-m"], "hydra.sweeper.promote=abc must be a whole number of at least 0"),
        (
            ["hydra/sweeper=random", "+hydra.sweeper.method.tokn=false", "-m"],
            "hydra.sweeper.method.tokn is no setting of random; it has none",
        ),
        (
            ["+experiment=tiny_search", "hydra/sweeper=grid", "rank=a,b", "-m"],
            "variant.alpha is derived from rank, which is no axis of numbers here",
        ),
        (["lr=interval(1e-4,1e-2)", "-m"], "lr: a grid needs a list of values, not an interval"),
        (["rank=999"], "rank=999 is larger than"),
        (["+experiment=tiny_lrsweep"], "this experiment sweeps variant, lr: add -m"),
        (["experiment=tiny_lrsweep"], "an experiment is added, not overridden: write +experiment=NAME, and -m"),
        (["variant=lora,pissa"], "variant=lora,pissa has several values: add -m"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(args, message, tmp_path):
    done = lorabench(f"output_dir={tmp_path}", *args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lorabench: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_experiment_of_the_readme_has_540_cells():
    done = lorabench("+experiment=gemma_math_lrsweep", "plan=true", "-m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("540 cells: 540 to run")


HEAVY = ("torch", "transformers", "peft", "datasets", "pandas", "scipy", "matplotlib")
HELP = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print("imported:", sorted(set({heavy}) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["lorabench", "--help"],
        ["lorabench", "evaluate", "--help"],
        ["lorabench.evaluate", "rescore", "--help"],
        ["hessian", "--help"],
        ["lorabench", "hessian", "--help"],
        ["analysis", "--help"],
        ["lorabench", "analysis", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(words):
    code = HELP.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    assert done.stdout.splitlines()[-1] == "imported: []"
