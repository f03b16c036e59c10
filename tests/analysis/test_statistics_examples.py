"""The examples in the docstrings of the statistics do what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import analysis.stats

MODULES = sorted(file.stem for file in Path(analysis.stats.__file__).parent.glob("*.py") if file.stem != "__init__")
SHOWN = {name for name in MODULES if name not in ("layers", "intervals")}
"""All but those of what is read from files."""


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(import_module(f"analysis.stats.{name}"), optionflags=doctest.FAIL_FAST)
    assert result.failed == 0
    assert result.attempted or name not in SHOWN, "no example left"
