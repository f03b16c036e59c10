"""A working folder with files that are called like lorabench's packages, and with a method of one's own."""

import json
import sys
from pathlib import Path

import pytest

from lorabench.contributed import own_modules_last
from sweeps.search.nomad import Nomad
from sweeps.space import Space

ROOT = Path(__file__).resolve().parents[3]
CLASH = "raise RuntimeError('the file of the working folder was imported: ' + __file__)\n"
METHOD = '''"""Mine: another start."""

import torch

from lorabench.variants.lora import LoRA


class Mine(LoRA):
    """As LoRA, with a smaller A."""

    def factors(self, name, weight, generator):
        return torch.randn(self.rank, weight.shape[1], generator=generator) / 100, None
'''
FILES = ["analysis/__init__.py", "sweeps/__init__.py", "hessian.py", "datasets.py", "peft/__init__.py"]
OWN = ["variant._target_=mymodule.Mine", "variant.name=mine"]


@pytest.fixture
def folder(tmp_path):
    """The working folder."""
    for name in [*FILES, "conf/config.yaml", "mymodule.py", "taken/__init__.py"]:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(METHOD if file.name == "mymodule.py" else CLASH)
    return tmp_path


def records(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted((folder / "runs").glob("*/record.json"))]


def test_the_console_script_takes_what_is_its_own_and_the_users_method(script, folder, quick):
    (folder / "lorabench.py").write_text(CLASH)
    done = script("sweep", *OWN, "lr=1e-3,2e-3", *quick, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [record["config"]["variant"]["name"] for record in records(folder)] == ["mine", "mine"]
    for words in (["table", "runs"], ["search-bench", "--help"], ["variants", "--help"]):
        done = script(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    words = ["variants=lora", "matrices=q_proj", "layers=0", "samples=2", "hessian.max_iter=3", "hessian.tol=1"]
    done = script("hessian", *words, cwd=folder)
    assert done.returncode == 0 and list((folder / "runs" / "hessian").rglob("*.json")), done.stderr


def test_so_does_python_m(python, folder, quick):
    done = python("-m", "lorabench", *OWN, "lr=1e-3", *quick, "-m", cwd=folder)
    assert done.returncode == 0 and len(records(folder)) == 1, done.stderr
    for words in (["-m", "lorabench", "analysis", "table", "runs"], ["-m", "lorabench", "hessian", "--help"]):
        done = python(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    (folder / "hessian.py").unlink()  # which is what `python -m hessian` means there
    words = ["variants=lora", "matrices=q_proj", "layers=0", "samples=2", "hessian.max_iter=3", "hessian.tol=1"]
    done = python("-m", "hessian", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "lorabench.py").write_text(CLASH)
    done = python("-P", "-m", "lorabench", "plan", "lr=1e-3", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_what_replaces_no_package_says_so_where_it_was_meant(python, folder):
    """`filelock` is installed and imported."""
    (folder / "filelock.py").write_text(METHOD)
    done = python("-m", "lorabench", "variant._target_=filelock.Mine", cwd=folder)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lorabench: variant=lora: cannot import filelock.Mine (")
    assert "; Python has another filelock, " in done.stderr
    assert done.stderr.endswith(f": give {folder / 'filelock.py'} another name\n")


def test_a_search_that_asks_a_process_of_its_own_gets_our_package_there(folder, monkeypatch):
    pytest.importorskip("PyNomad")
    monkeypatch.chdir(folder)
    search = Nomad(Space({"lr": ["1e-3", "2e-3", "4e-3"], "rank": ["4", "8", "16"]}), seed=0)
    unknown, visited = search._run({0: 0.5}, 0, 0)
    assert unknown is not None or visited


def test_the_working_folder_comes_last_but_where_it_is_the_checkout(tmp_path, monkeypatch):
    from lorabench.contributed import PACKAGE

    monkeypatch.setattr(sys, "path", ["", str(PACKAGE.parent), str(tmp_path), "/somewhere"])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.chdir(tmp_path)
    own_modules_last([tmp_path])
    assert sys.path == [str(PACKAGE.parent), "/somewhere", str(tmp_path)]
    own_modules_last([tmp_path])
    assert sys.path == [str(PACKAGE.parent), "/somewhere", str(tmp_path)]
    monkeypatch.setattr(sys, "path", [str(PACKAGE.parent), "/somewhere"])
    own_modules_last([PACKAGE.parent])
    assert sys.path == [str(PACKAGE.parent), "/somewhere"]


def test_packages_of_ours_are_ours_whatever_is_on_the_path(script, folder, tmp_path_factory):
    """A folder in PYTHONPATH is searched before what is installed."""
    place = tmp_path_factory.mktemp("elsewhere")
    for words in (["table", "--help"], ["search-bench", "--help"], ["hessian", "--help"]):
        done = script(*words, cwd=place, PYTHONPATH=f"{folder}:{ROOT}")
        assert done.returncode == 0 and done.stdout.startswith(f"usage: lorabench {words[0]}"), done.stderr
