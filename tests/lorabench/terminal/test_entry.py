"""Every command ends alike: a mistake in one line and code 2, an interruption in one that is true, any terminal."""

import functools
import io
import operator
import os
import runpy
import subprocess
import sys

import pytest

from lorabench.__main__ import main
from lorabench.terminal.entry import command


@pytest.fixture
def ended(monkeypatch, capsys):
    """A function that runs a module with these words in this process and gives the code and what it printed."""

    def run(module: str, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [module, *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("HYDRA_FULL_ERROR", "PYTHONPATH"):  # which the command sets
            monkeypatch.setenv(name, os.environ.get(name, "") if name == "PYTHONPATH" else "")
        with pytest.raises(SystemExit) as end:
            main() if module == "lorabench" else runpy.run_module(module, run_name="__main__", alter_sys=True)
        return end.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("module", "words", "line"),
    [
        ("lorabench", "--foo", "unrecognized arguments: --foo (see --help)"),
        ("lorabench", "--cfg", "argument --cfg/-c: expected one argument (see --help)"),
        ("lorabench", "=3", "'=3' is not key=value; see --help"),
        ("lorabench", "lr", "'lr' is no command, and not key=value; available: analysis, "),
        ("lorabench", "seed=0 lr", "'lr' is not key=value; see --help"),
        ("lorabench", "variant=1", "variant=1 does not exist; available: adalora"),
        ("lorabench", "trainer=null", "trainer=null does not exist; available: default"),
        ("lorabench", "model=[tiny,1]", "model=[tiny,1] is a list, of which Hydra would make one mixture"),
        ("lorabench", "lr=null", "lr=null must be a number"),
        ("lorabench", "trainer.betas=[0.9,x]", "trainer.betas=[0.9,x] must be a list of 2 numbers"),
        ("lorabench", "~trainer.betas", "trainer.betas must have a value; leave ~trainer.betas out"),
        ("lorabench", "~lr", "lr must have a value; leave ~lr out"),
        ("lorabench", "seed=" + "9" * 5000, "seed=99999"),
        ("lorabench", "model.path=${x}", "model.path: Interpolation key 'x' not found"),
        (
            "lorabench",
            "model.path=a=b",
            "cannot read model.path=a=b: quotes are missing; as a text, write 'model.path=\"a=b\"'",
        ),
        (
            "lorabench",
            "model.path=a,b",
            "model.path=a,b has several values: add -m to run each of them, or write 'model.path=\"a",
        ),
        ("lorabench", "lr=1e-3,2e-3", "lr=1e-3,2e-3 has several values: add -m to run each of them\n"),
        ("lorabench", "hydra.sweeper=x -m", "hydra.sweeper and hydra.launcher are chosen by hydra/sweeper=NAME"),
        (
            "lorabench",
            "model.path=a=b,c -m",
            "cannot read model.path=a=b,c: quotes are missing; as a text, write 'model.path=\"a=b\",c'",
        ),
        ("lorabench", "model.path=~/nowhere", f"model.path={os.path.expanduser('~')}/nowhere: no config.json"),
        ("lorabench", "hessian.every=10", "hessian.every is probe.every now, with probe=hessian"),
        ("lorabench", "+hessian.layers=[0]", "hessian is probe now"),
        ("lorabench", "variant._target_=nowhere.X", "variant=lora: cannot import nowhere.X (ModuleNotFoundError: "),
        ("lorabench", "variants --rank x", "argument --rank: invalid int value: 'x' (see --help)"),
        ("lorabench.variants", "--foo", "unrecognized arguments: --foo (see --help)"),
        ("lorabench.variants", "--model x", "model=x does not exist; available: "),
        ("lorabench", "new", "the following arguments are required: KIND (see --help)"),
        ("lorabench", "new thing", "argument KIND: invalid choice: 'thing'"),
        ("lorabench.new", "variant", "the following arguments are required: NAME (see --help)"),
        ("lorabench.new", "variant A-b", "'A-b' cannot name a module"),
        ("lorabench", "evaluate", "the following arguments are required: command (see --help)"),
        ("lorabench.evaluate", "rescore", "the following arguments are required: runs/ID (see --help)"),
        ("lorabench.evaluate", "rescore /nowhere", "/nowhere holds no cell"),
        ("lorabench", "analysis", "the following arguments are required: COMMAND (see lorabench analysis --help)"),
        ("analysis", "table", "the following arguments are required: RUNS (see python -m analysis table --help)"),
        ("analysis", "table /nowhere", "/nowhere is not a directory"),
        ("sweeps.bench", "", "the following arguments are required: --tables (see --help)"),
        ("sweeps.bench", "--tables tiny --budget x", "argument --budget: invalid int value: 'x' (see --help)"),
        ("sweeps.bench", "--tables nowhere", "there is no table nowhere"),
        ("hessian", "report runs", "report is `python -m analysis table FOLDER --kind sharpness` now"),
        ("hessian", "advise", "advise is `python -m analysis advise FOLDER --lr LOW,HIGH` now"),
        ("hessian", "hessian=x", "hessian=x must be keys with values"),
        ("hessian", "hessian.tol=null", "hessian.tol=null must be a number"),
        ("hessian", "variant.alpha=1", "unknown key 'variant.alpha'; "),
        ("hessian", "output_dir=a=b", "cannot read output_dir=a=b: quotes are missing"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(ended, tmp_path, monkeypatch, module, words, line):
    monkeypatch.chdir(tmp_path)
    code, printed = ended(module, *words.split())
    assert code == 2
    assert printed.startswith(f"lorabench: {line}")
    assert printed.endswith("\n") and len(printed.splitlines()) == 1 and len(printed) < 600


@pytest.mark.parametrize(("words", "code"), [(["interrupted; so it goes"], 130), ([], 130)])
def test_an_interruption_says_what_is_so(capsys, words, code):
    with pytest.raises(SystemExit) as end, command():
        raise KeyboardInterrupt(*words)
    assert end.value.code == code
    assert capsys.readouterr().err == f"lorabench: {(words or ['interrupted'])[0]}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("lorabench.__main__._cells", functools.partial(operator.truediv, 1, 0))  # no frame of this file
    monkeypatch.setattr(sys, "argv", ["lorabench"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(ZeroDivisionError):
        main(console=False)


def test_what_an_encoding_lacks_is_replaced(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with command():
        print("λ · é \udc80")
    stream.flush()
    assert stream.buffer.getvalue() == b"? ? ? ?\n"


ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    "words",
    [
        ["hessian", "--help"],
        ["lorabench", "--help"],
        ["lorabench.variants"],
        ["lorabench", "plan=true", "lr=1e-3,2e-3", "-m"],
        ["analysis", "table", "--help"],
        ["analysis", "table", "analysis/published"],
        ["analysis", "heuristics", "analysis/published"],
        ["sweeps.bench", "--tables", "tiny", "--methods", "random", "--seeds", "2", "--budget", "3"],
    ],
    ids=" ".join,
)
def test_a_terminal_of_ascii_shows_everything(words, tmp_path):
    command = [sys.executable, "-m", *words]
    if "sweeps.bench" in words:
        command += ["--output", str(tmp_path / "bench.jsonl")]
    done = subprocess.run(command, capture_output=True, timeout=120, env=os.environ | ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii") and b"Traceback" not in done.stderr
