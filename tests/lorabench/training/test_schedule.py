"""The learning rate over the steps against Transformers' own schedule."""

import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from lorabench.training.schedule import group_names, lr_factor, rates, set_rates


def optimizer_of(*groups):
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], **group} for group in groups], lr=1.0)


@pytest.mark.parametrize("total", [1, 2, 10, 33, 150, 1000])
def test_schedule_is_transformers_cosine(total):
    optimizer = optimizer_of({})
    reference = get_cosine_schedule_with_warmup(optimizer, math.ceil(0.03 * total), total)
    for step in range(total):
        assert lr_factor(step, total, 0.03) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()


def test_every_group_follows_its_own_peak_as_transformers_schedule_lets_it():
    ours, theirs = (optimizer_of({"lr": 0.1}, {"lr": 1.6}, {}) for _ in range(2))
    reference = get_cosine_schedule_with_warmup(theirs, 3, 20)
    for step in range(20):
        set_rates(ours, lr_factor(step, 20, 0.15))
        assert rates(ours) == pytest.approx(reference.get_last_lr(), abs=1e-12)
        theirs.step()
        reference.step()


def test_a_group_that_comes_during_the_run_brings_its_own_peak():
    optimizer = optimizer_of({"lr": 0.1})
    set_rates(optimizer, 0.5)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.8})
    set_rates(optimizer, 0.25)
    assert rates(optimizer) == [0.025, 0.2]


def test_groups_go_by_their_names_or_numbers():
    assert group_names(optimizer_of({"name": "lora_A"}, {})) == ["lora_A", "1"]
