"""The package's docstring lists every folder, each after those that it imports, and there is no circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import analysis

ROOT = Path(analysis.__file__).parent
LISTED = [
    name
    for names in re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  ", analysis.__doc__, re.MULTILINE)
    for name in names.split(", ")
]
MODULES = {
    ".".join(("analysis", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in ROOT.rglob("*.py")
}


def room(module):
    """The folder, or the file beside them, that a module is of."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(module):
    """Modules of this package that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "analysis":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def test_every_folder_and_file_is_listed_once():
    assert sorted(LISTED) == sorted({room(module) for module in MODULES} - {"__init__"})


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_folder_imports_only_what_stands_before_it(module):
    for name in set(imported(module)):
        own = room(name) == room(module)
        assert own or LISTED.index(room(name)) < LISTED.index(room(module)), f"{module} imports {name}"


def test_there_is_no_circle():
    assert list(TopologicalSorter({module: set(imported(module)) - {module} for module in MODULES}).static_order())


@pytest.mark.parametrize("folder", sorted({file.parent for file in MODULES.values()}), ids=lambda folder: folder.name)
def test_a_folder_is_taken_in_at_a_glance_and_a_file_in_one_sitting(folder):
    files = list(folder.glob("*.py"))
    assert len(files) <= 15
    assert all(len(file.read_text(encoding="utf-8").splitlines()) <= 300 for file in files)


def test_who_measures_does_not_draw():
    """`hessian` needs the schema of its records, the level of intervals and a median, and nothing that shows them."""
    allowed = {
        "analysis.read": {"REFERENCE"},
        "analysis.read.block": {"KIND", "SCHEMA_VERSION", "read_block"},
        "analysis.stats": {"LEVEL"},
        "analysis.stats.order_statistics": {"median"},
    }
    for file in (ROOT.parent / "hessian").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("analysis"):
                assert {alias.name for alias in node.names} <= allowed.get(node.module, set()), file
