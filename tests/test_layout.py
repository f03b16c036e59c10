"""Imports point one way, and the package carries its configs."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "lorabench": {"lorabench"},
    "hessian": {"hessian", "lorabench", "analysis"},
    "sweeps": {"sweeps"},
    "analysis": {"analysis"},
    "hydra_plugins": {"sweeps"},
}
OURS = {"lorabench", "hessian", "sweeps", "analysis", "benchmarks", "hydra_plugins", "conf", "tests"}


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert imported(file) & OURS <= ALLOWED[package], file
        if package == "analysis":
            assert "torch" not in imported(file), file


def test_no_variant_is_named_outside_its_own_file():
    names = {file.stem for file in (ROOT / "conf" / "variant").glob("*.yaml")} - {"lora"}
    for file in (ROOT / "lorabench").rglob("*.py"):
        if file.parent.name == "variants":
            continue
        words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not words & names, file


def test_a_built_package_carries_configs_and_checkpoint(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed (pip install -e '.[dev]')")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, timeout=120
    )
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for file in (ROOT / "conf").rglob("*.yaml"):
        assert f"lorabench/conf/{file.relative_to(ROOT / 'conf')}" in held
    for file in (ROOT / "analysis" / "report" / "assets").iterdir():
        assert f"analysis/report/assets/{file.name}" in held
    assert {"lorabench/tiny/checkpoint/model.safetensors", "hydra_plugins/lorabench_sweepers.py", "sweeps/grid.py"} <= held
    assert not any(name.startswith(("conf/", "tests/")) for name in held)
