"""The house: imports point one way, folders and files stay small, the README's tree is true, the package carries its configs."""

import ast
import re
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lorabench", "hessian", "sweeps", "analysis", "hydra_plugins")
ALLOWED = {
    "lorabench": {"lorabench"},
    "hessian": {"hessian", "lorabench", "analysis"},
    "sweeps": {"sweeps"},
    "analysis": {"analysis"},
    "hydra_plugins": {"sweeps"},
}
"""What each package may import of ours. `lorabench` imports none of the others, `analysis` and `sweeps` stand alone."""

MEASURES = ("analysis.stats", "analysis.read")
"""What of `analysis` a package that only measures may import: levels, medians and the form of its records, nothing that draws."""

ROOMS = [
    {"errors", "files"},
    {"choices"},
    {"schema"},
    {"contributed", "provenance"},
    {"imports", "signatures"},
    {"annotations", "hooks"},
    {"terminal"},
    {"models"},
    {"training"},
    {"variants", "subsets", "sandbox", "tiny"},
    {"tasks", "generation", "trackers", "probes"},
    {"records"},
    {"cells"},
    {"encoder", "evaluate", "verify", "new", "console", "tune"},
]
"""The rooms of `lorabench`, each of which imports from those before it alone; entry points (`__main__`, `tiny.pretrain`) from all."""

LINES, FILES = 300, 15
SEAMS = {
    "lorabench/variants",
    "lorabench/tasks",
    "lorabench/tasks/scorers",
    "lorabench/trackers",
    "sweeps/search",
    "analysis/tables",
    "analysis/figures",
}
"""Folders with one file a method, a task or a kind, which may have as many as there are."""


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    named = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


MODULES = modules()


def imported(file: Path) -> set[str]:
    """Names of all modules that a file imports, anywhere in it, those for types included."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (below & MODULES.keys()) or {node.module}
    return names


IMPORTS = {name: imported(file) for name, file in MODULES.items()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    package = name.split(".")[0]
    packages = {module.split(".")[0] for module in IMPORTS[name]} & {*PACKAGES, "benchmarks", "conf", "tests"}
    assert packages <= ALLOWED[package]
    if package == "analysis":
        assert not {module.split(".")[0] for module in IMPORTS[name]} & {"torch", "transformers"}
    if package == "hessian":
        assert all(module.startswith(MEASURES) for module in IMPORTS[name] if module.split(".")[0] == "analysis")
    if name in ("hessian.lanczos", "hessian.bound") or name.startswith("sweeps.search"):
        assert not {module.split(".")[0] for module in IMPORTS[name]} & {"hydra", "lorabench"}


def room(name: str) -> int | None:
    """The number of a module's room; None for an entry point."""
    parts = name.split(".")
    if len(parts) == 1 or parts[-1] == "__main__" or name == "lorabench.tiny.pretrain":
        return None
    [place] = [i for i, names in enumerate(ROOMS) if parts[1] in names]
    return place


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("lorabench.") and room(name) is not None))
def test_a_room_of_lorabench_imports_from_those_before_it(name):
    for module in IMPORTS[name]:
        if module.startswith("lorabench.") and module.split(".")[1] != name.split(".")[1]:
            assert room(module) is not None and room(module) < room(name), f"{name} imports {module}"


def test_there_is_no_circle():
    remaining = {name: {module for module in names if module in MODULES and module != name} for name, names in IMPORTS.items()}
    while free := [name for name, names in remaining.items() if not names & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert sorted(remaining) == []


def test_files_are_read_in_one_sitting_and_folders_at_a_glance():
    long = {name: n for name, file in MODULES.items() if (n := len(file.read_text().splitlines())) > LINES}
    folders = defaultdict(list)
    for file in MODULES.values():
        folders[file.parent.relative_to(ROOT).as_posix()].append(file.name)
    full = {folder: len(names) for folder, names in folders.items() if len(names) > FILES and folder not in SEAMS}
    assert (long, full) == ({}, {})


def bound_names(file: Path) -> set[str]:
    """What a file calls its variables and parameters."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    variables = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return variables | {node.arg for node in nodes if isinstance(node, ast.arg)}


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_no_variable_has_a_name_that_could_stand_for_anything(folder):
    anything = {"found", "told", "mine", "asked"}
    named = {file.relative_to(ROOT).as_posix(): bound_names(file) & anything for file in (ROOT / folder).rglob("*.py")}
    assert {file: names for file, names in named.items() if names} == {}


def test_test_files_have_names_of_their_own():
    """Two of one name cannot be collected together."""
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, n in names.items() if n > 1] == []


def tree() -> list[str]:
    """The paths that the README's tree names, those below a folder behind it."""
    block = re.search(r"^## What is where\n\n```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    paths, parents = [], []
    for line in block.group(1).splitlines():
        if match := re.match(r"( *)([\w.]+/?) ", f"{line} "):
            depth = len(match.group(1)) // 2
            parents[depth:] = [match.group(2)]
            paths.append("".join(parents))
    return paths


def test_the_tree_in_the_readme_is_true():
    named = tree()
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [path for path in named if (ROOT / path).is_dir() != path.endswith("/")] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is no git checkout, so that nobody knows which folders belong to it")
    folders = {f"{file.split('/')[0]}/" for file in tracked.stdout.splitlines() if "/" in file and not file.startswith(".")}
    rooms = {
        f"lorabench/{file.split('/')[1]}/"
        for file in tracked.stdout.splitlines()
        if file.startswith("lorabench/") and file.count("/") > 1
    }
    assert sorted((folders | rooms) - {*named}) == []


def body(name: str, function: str) -> str:
    """The statements of a function of a module, without its docstring."""
    [definition] = [node for node in ast.parse(MODULES[name].read_text()).body if getattr(node, "name", "") == function]
    return ast.unparse(definition.body[1:])


def test_what_packages_cannot_share_is_the_same_in_each():
    """`sweeps` and `analysis` import nothing of `lorabench`: what they need of it stands once in each, word by word."""
    from analysis.stats import LEVEL
    from analysis.style.numbers import exact_lr
    from lorabench.terminal.formats import format_lr
    from sweeps.bench.intervals import LEVEL as LEVEL_OF_REGRET

    assert body("lorabench.files", "replaced") == body("sweeps.files", "replaced")
    for function in ("digest", "canonical_json", "_canonical"):
        assert body("lorabench.files", function) == body("analysis.files", function)
    assert body("lorabench.records.card", "escaped") == body("analysis.style.rendering", "escaped")
    read, written = (MODULES[name].read_text() for name in ("analysis.read.form", "lorabench.records.form"))
    assert read.replace("analysis.files", "lorabench.files") == written
    assert LEVEL == LEVEL_OF_REGRET
    lrs = [float(f"{digits}e{power}") for digits in (1, 2, 6.3246, 9.999999) for power in range(-7, 2)]
    assert [exact_lr(lr) for lr in lrs] == [format_lr(lr) for lr in lrs]


def test_no_variant_is_named_outside_its_own_file():
    names = {file.stem for file in (ROOT / "conf" / "variant").glob("*.yaml")} - {
        "lora",
        "peft",
    }  # the reference, and a package
    for name, file in MODULES.items():
        if name.startswith("lorabench.") and not name.startswith("lorabench.variants."):
            words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
            assert not words & names, file


@pytest.mark.parametrize("package", ["lorabench", "hessian", "analysis"])
def test_help_answers_without_what_is_heavy(package):
    """Half a second is a matter of what is imported; a test of seconds would fail on a busy machine."""
    code = (
        f"import runpy, sys; sys.argv = ['{package}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{package}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'numpy', 'scipy', 'matplotlib', 'datasets'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "python -m" in done.stdout


def test_a_built_package_carries_configs_and_checkpoint(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed (pip install -e '.[dev]')")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, timeout=120
    )
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for file in (ROOT / "conf").rglob("*.yaml"):
        assert f"lorabench/conf/{file.relative_to(ROOT / 'conf')}" in held
    assets = [file for file in (ROOT / "analysis").rglob("assets/*") if file.is_file()]
    assert assets
    for file in assets:
        assert file.relative_to(ROOT).as_posix() in held
    assert {
        "lorabench/tiny/checkpoint/model.safetensors",
        "hydra_plugins/lorabench_sweepers.py",
        "sweeps/bench/tables/tiny.csv",
    } <= held
    assert not any(name.startswith(("conf/", "tests/")) for name in held)
