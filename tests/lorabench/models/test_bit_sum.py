"""The sum of a weight's bits tells values that change, and values that change places."""

import pytest
import torch

from lorabench.models.base import PART, bit_sum

DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int8]


def drawn(dtype, *shape):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return (values * 30).to(dtype)


def two_rows(weight):
    order = torch.arange(len(weight))
    order[[3, 40]] = order[[40, 3]]
    return weight[order]


CHANGES = {
    "rows reversed": lambda weight: weight.flip(0),
    "columns reversed": lambda weight: weight.flip(1),
    "permuted": lambda weight: weight[torch.randperm(len(weight), generator=torch.Generator().manual_seed(1))],
    "two rows swapped": two_rows,
    "rolled by a part": lambda weight: weight.flatten().roll(PART).view_as(weight),
    "all signs": lambda weight: -weight,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_values_that_change_places_or_signs_change_the_sum(change, dtype):
    weight = drawn(dtype, 64, 3 * PART // 64 + 5)
    before = bit_sum(weight)
    assert bit_sum(change(weight)) != before and bit_sum(weight.clone()) == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_single_value_changes_the_sum(dtype):
    """By its sign, or its last bit."""
    weight = drawn(dtype, 50, 7)
    before = bit_sum(weight)
    for place in range(weight.numel()):
        for bit in (0, -1):
            changed = weight.clone()
            octets = changed.view(-1)[place : place + 1].view(torch.uint8)
            octets[bit] ^= 1 if bit == 0 else 128
            assert bit_sum(changed) != before


def test_two_signs_in_double_precision_and_rows_of_the_same_values():
    weight = drawn(torch.float64, 8)
    both = weight.clone()
    both[[2, 5]] *= -1
    assert bit_sum(both) != bit_sum(weight)
    rows = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    assert bit_sum(rows) != bit_sum(rows.flip(0))


def test_a_scalar_an_empty_weight_and_a_transposed_one_have_a_sum():
    assert bit_sum(torch.tensor(1.0)) != bit_sum(torch.tensor(2.0)) and bit_sum(torch.empty(0, 3)) == 0
    weight = drawn(torch.float32, 4, 6)
    assert bit_sum(weight.T) == bit_sum(weight.T.contiguous()) != bit_sum(weight)
