"""The examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import hessian

MODULES = sorted(module.name for module in pkgutil.walk_packages(hessian.__path__, "hessian.") if "__main__" not in module.name)
WITH_EXAMPLES = {
    "hessian.blocks",
    "hessian.bound",
    "hessian.jackknife",
    "hessian.lanczos",
    "hessian.products.adapters",
    "hessian.products.leaves",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    torch.manual_seed(0)
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert attempted > 0 or name not in WITH_EXAMPLES


def test_what_a_reader_would_try_has_an_example():
    assert set(MODULES) >= WITH_EXAMPLES
