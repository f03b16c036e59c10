"""The examples in docstrings of lorabench run."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "lorabench").rglob("*.py")
    if ">>> " in file.read_text()
)


def test_there_are_examples_where_a_reader_would_try_them():
    shown = {f"lorabench.variants.{name}" for name in ("lora", "pissa", "dora", "randlora")}
    assert shown | {"lorabench.records.code", "lorabench.training.schedule"} <= {*MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted and not outcome.failed
