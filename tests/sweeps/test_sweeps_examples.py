"""The examples in the docstrings of ``sweeps`` are true."""

import doctest
import importlib
import pkgutil

import pytest

import sweeps

MODULES = sorted(module.name for module in pkgutil.walk_packages(sweeps.__path__, "sweeps."))
NEEDS = {"sweeps.processes.improvement": "botorch"}
SHOWN = {
    "sweeps.space",
    "sweeps.search.base",
    "sweeps.search.design",
    "sweeps.processes.improvement",
    "sweeps.language.relations",
}
"""Modules of which a user reads the examples first."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"pip install 'lorabench[search]' brings {NEEDS[name]}")
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
    assert results.attempted > 0 or name not in SHOWN
