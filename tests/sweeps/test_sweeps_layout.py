"""The map of ``sweeps``: what there is, that imports point down it and never in a circle, and that entry points stay light."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps

PACKAGE = Path(sweeps.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAP = re.findall(r"^    (\w+) {2,}\S", sweeps.__doc__, re.M)
"""Parts of the package from the bottom to the top, as its docstring lists them."""


def name(file):
    """``sweeps.search.base`` of its file."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(file) for file in FILES}


def imported(file):
    """All modules that a file imports, at the top or within a function."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {module if module in MODULES else node.module for module in whole}
    return modules


def part(module):
    """The entry of the map that a module belongs to."""
    return module.split(".")[1]


def test_the_map_is_whole():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} == set(MAP) and len(MAP) == len(set(MAP))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_point_down_the_map(file):
    if file == PACKAGE / "__init__.py":
        assert not imported(file)
        return
    for module in imported(file):
        if module.split(".")[0] == "sweeps":
            assert MAP.index(part(module)) <= MAP.index(part(name(file))), module
        assert module.split(".")[0] not in {"lorabench", "hessian", "analysis", "hydra_plugins"}
        if part(name(file)) not in {"sweepers", "bench"}:
            assert module.split(".")[0] not in {"hydra", "omegaconf"}, module


def test_no_method_imports_another():
    shared = {"sweeps.search", "sweeps.search.base", "sweeps.search.design"}
    for file in (PACKAGE / "search").glob("*.py"):
        assert {module for module in imported(file) if part(f"{module}.") == "search"} <= shared, file


def test_there_is_no_circle():
    graph = {name(file): imported(file) & MODULES - {name(file)} for file in FILES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


def test_files_and_folders_are_taken_in_at_a_glance():
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 300, file
        assert len(list(file.parent.glob("*.py"))) <= 15, file.parent


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("hydra_plugins.lorabench_sweepers", {"torch", "transformers", "scipy", "pandas", "optuna", "botorch"}),
        ("sweeps.bench.__main__", {"torch", "transformers", "scipy", "pandas", "numpy", "optuna", "botorch"}),
    ],
)
def test_what_a_command_imports_at_its_start_is_light(module, heavy):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not heavy & set(loaded.stdout.split())
