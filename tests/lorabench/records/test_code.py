"""The code of a part: its version where it vouches for itself, and the content of its files where it cannot."""

import importlib
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from lorabench.records.code import OURS, code_of
from lorabench.schema import CONF, TrainerConfig
from lorabench.variants.lora import LoRA

PARTS = sorted(
    f"{group}={file.stem}"
    for group in ("task", "variant", "evaluator", "subset", "probe")
    for file in (CONF / group).glob("*.yaml")
)
OWN = """
from lorabench.variants.lora import LoRA
import {beside}

class Own(LoRA):
    {version}
    rate = {beside}.RATE
"""


@pytest.fixture
def import_from(tmp_path, monkeypatch):
    """A function that writes files into a new folder and imports a class from there, as a new process would."""
    folders = iter(range(100))

    def load(files: dict[str, str], target: str = "own.Own"):
        folder = tmp_path / str(next(folders))
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        before = set(sys.modules)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            importlib.invalidate_caches()
            code = code_of(get_class(target))
        for name in set(sys.modules) - before:
            del sys.modules[name]
        return code

    return load


def own(version: str = "pass", beside: str = "beside") -> str:
    return OWN.format(version=version, beside=beside)


def test_a_class_of_this_package_vouches_by_its_version():
    assert code_of(LoRA) == {"lorabench.variants.lora.LoRA": 1, "lorabench.variants.base.Variant": 1}


@pytest.mark.parametrize("words", PARTS)
def test_every_shipped_part_states_its_version_in_its_own_body(words):
    group, name = words.split("=")
    target = OmegaConf.load(CONF / group / f"{name}.yaml")["_target_"]
    for cls in inspect.getmro(get_class(target)):
        if cls.__module__.split(".")[0] in OURS and _is_tracked(inspect.getsourcefile(cls)):
            assert isinstance(vars(cls).get("version"), int), cls


def _is_tracked(file):
    """Whether git knows a file; what a contributor works on counts by its source until then."""
    done = subprocess.run(["git", "ls-files", "--error-unmatch", file], cwd=CONF, capture_output=True)
    return done.returncode in (0, 128)  # no checkout: everything is shipped


def test_the_trainer_states_its_version():
    assert isinstance(TrainerConfig.version, int)


def test_a_class_from_elsewhere_counts_with_its_file_and_those_beside_it(import_from):
    files = {"own.py": own(), "beside.py": "RATE = 16\n", "unrelated.py": "x = 1\n"}
    code = import_from(files)
    assert list(code) == ["own.Own", "lorabench.variants.lora.LoRA", "lorabench.variants.base.Variant"]
    assert import_from(files) == code  # wherever they lie
    assert import_from(files | {"unrelated.py": "x = 2\n"}) == code
    assert import_from(files | {"own.py": own("rate_of_b = 8")}) != code
    assert import_from(files | {"beside.py": "RATE = 8\n"}) != code


def test_a_version_does_not_vouch_for_what_lies_elsewhere(import_from):
    files = {"own.py": own("version = 1"), "beside.py": "RATE = 16\n"}
    code = import_from(files)
    assert str(code["own.Own"]).startswith("1 sha256:")
    assert import_from(files | {"beside.py": "RATE = 8\n"}) != code
    assert import_from(files | {"own.py": own("version = 2")}) != code


def test_what_is_imported_by_what_is_imported_counts_too(import_from):
    files = {"own.py": own(), "beside.py": "from deep.values import RATE\n", "deep/values.py": "RATE = 16\n"}
    code = import_from(files)
    assert import_from(files | {"deep/values.py": "RATE = 8\n"}) != code


@pytest.mark.parametrize("line", ["from . import values", "from .values import RATE", "from ..shared.values import RATE"])
def test_imports_from_inside_a_package_count(import_from, line):
    text = f"from lorabench.variants.lora import LoRA\n{line}\n\nclass Own(LoRA):\n    pass\n"
    files = {"mine/__init__.py": "", "mine/deep/__init__.py": "", "mine/shared/__init__.py": ""}
    files |= {"mine/deep/own.py": text, "mine/deep/values.py": "RATE = 16\n", "mine/shared/values.py": "RATE = 16\n"}
    code = import_from(files, "mine.deep.own.Own")
    imported = "mine/shared/values.py" if "shared" in line else "mine/deep/values.py"
    unused = ({"mine/shared/values.py", "mine/deep/values.py"} - {imported}).pop()
    assert import_from(files | {imported: "RATE = 8\n"}, "mine.deep.own.Own") != code
    assert import_from(files | {unused: "RATE = 8\n"}, "mine.deep.own.Own") == code


def test_a_class_between_counts_too(import_from):
    files = {"own.py": "from between import Between\nclass Own(Between):\n    pass\n"}
    files |= {"between.py": own().replace("Own", "Between"), "beside.py": "RATE = 16\n"}
    code = import_from(files)
    assert list(code)[:2] == ["own.Own", "between.Between"]
    assert import_from(files | {"between.py": own("rate_of_b = 8").replace("Own", "Between")}) != code


def test_files_that_import_each_other_end(import_from):
    files = {"own.py": own(), "beside.py": "import own\nRATE = 16\n"}
    assert import_from(files) != import_from(files | {"beside.py": "import own\nRATE = 8\n"})


@pytest.fixture
def inside(tmp_path):
    """A function from a text to the code of its class ``Fresh``, as if its file lay in this package."""
    numbers = iter(range(100))

    def load(text: str):
        file = tmp_path / f"fresh{next(numbers)}.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("lorabench.variants.fresh", file)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            return code_of(module.Fresh)["lorabench.variants.fresh.Fresh"]
        finally:
            del sys.modules[spec.name]

    return load


def test_a_new_class_of_this_package_is_told_by_its_file_until_it_states_a_version(inside):
    text = "from lorabench.variants.lora import LoRA\n\nclass Fresh(LoRA):\n    rate = {}\n"
    assert inside(text.format(1)) == inside(text.format(1)) != inside(text.format(2))
    assert str(inside(text.format(1))).startswith("sha256:")
    stated = text + "    version = 3\n"
    assert inside(stated.format(1)) == inside(stated.format(2)) == 3


def test_a_package_that_was_installed_counts_by_its_own_files(import_from, monkeypatch):
    for user in ("records.code", "imports"):
        monkeypatch.setattr(f"lorabench.{user}.is_library", lambda file: "lorabench" not in str(file))
    files = {"own.py": own("version = 1"), "beside.py": "RATE = 16\n"}
    code = import_from(files)
    assert import_from(files | {"own.py": own("version = 2")}) != code
    assert "torch" not in str(code)


def test_a_class_without_a_file_is_told_by_its_name_alone():
    made = type("Made", (LoRA,), {"__module__": "notebook"})
    assert code_of(made)["notebook.Made"] == "unknown"


def test_a_helper_in_the_same_room_counts_until_a_version_is_stated(tmp_path):
    """A method of the checkout that is being worked on, in two files."""
    shutil.copytree(CONF.parent / "lorabench", tmp_path / "lorabench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "conf").mkdir()
    room = tmp_path / "lorabench" / "variants"
    method = '"""M."""\n\nfrom lorabench.variants.layers import fresh\nfrom lorabench.variants.lora import LoRA\n\n\nclass M(LoRA):\n    """M."""\n'
    code = "from lorabench.records.code import code_of\nfrom lorabench.variants.m import M\nprint(code_of(M)['lorabench.variants.m.M'])"

    def version(size, stated=""):
        (room / "layers" / "fresh.py").write_text(f'"""F."""\n\nSIZE = {size}\n')
        (room / "m.py").write_text(method + stated)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert version(1) == version(1) != version(2)
    assert version(1, "\n    version: int = 1\n") == version(2, "\n    version: int = 1\n") == "1"


def test_hashing_imports_nothing(import_from):
    """A package that a method imports when it must, and that fails or is heavy."""
    beside = {"beside.py": "RATE = 16\n", "boom/__init__.py": "raise RuntimeError\n", "boom/inner.py": "x = 1\n"}
    files = {"own.py": own() + "\n\ndef later():\n    from boom.inner import x\n    return x\n"}
    assert import_from(files | beside) != import_from(files | beside | {"boom/inner.py": "x = 2\n"})
