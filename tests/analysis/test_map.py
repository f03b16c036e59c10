"""The package's docstring names every module, each after those that it imports."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import analysis

ROOT = Path(analysis.__file__).parent
MODULES = sorted(
    {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in ROOT.rglob("*.py")} - {"__init__", "__main__"}
)
LISTED = [
    name
    for names in re.findall(r"^    ([a-z_*]+(?:, [a-z_*]+)*) ", analysis.__doc__, re.MULTILINE)
    for name in names.split(", ")
]


def place(module):
    """A name stands for itself; one that is not in the list, for those like `*_table`."""
    found = [i for i, name in enumerate(LISTED) if name == module] or [
        i for i, name in enumerate(LISTED) if fnmatch(module, name)
    ]
    assert len(found) == 1, f"{module} stands {len(found)} times in the docstring of analysis"
    return found[0]


def imported(module):
    for file in [ROOT / f"{module}.py"] if (ROOT / f"{module}.py").exists() else (ROOT / module).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "analysis":
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("analysis."):
                yield node.module.split(".")[1]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_before_it(module):
    for other in set(imported(module)) - {module}:
        assert place(other) < place(module), f"{module} imports {other}"


def test_no_name_is_of_no_module():
    assert [name for name in LISTED if not any(fnmatch(module, name) for module in MODULES)] == []
