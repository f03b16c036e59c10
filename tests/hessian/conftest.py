"""Data of unequal lengths, and room for them."""

import os

import pytest
import torch
from small_models import LENGTHS

from hessian.products.passes import Budget
from lorabench.training.data import Encoded

pytest.register_assert_rewrite("spectra")


@pytest.fixture
def examples():
    """Sequences with their prompts masked."""
    generator = torch.Generator().manual_seed(0)
    return [Encoded(tuple(torch.randint(3, 500, (n,), generator=generator).tolist()), prompt) for n, prompt in LENGTHS]


@pytest.fixture
def budget():
    """Room for all graphs, several sequences in a micro-batch."""
    return Budget(2**30, 30, 0.6)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """A cache for the session, not the user's."""
    if "LORABENCH_CACHE" not in os.environ:
        monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
