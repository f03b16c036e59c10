"""Shares of a budget, and cells of so many hours."""

import pytest

from lorabench.errors import UserError
from lorabench.tune.budget import FIRST, cells, shares


@pytest.mark.parametrize("budget", range(11, 80))
def test_a_budget_is_spent_and_not_exceeded(budget):
    parts = shares(budget)
    assert parts.search + parts.finals == budget
    assert parts.finals == 3 * parts.seeds
    assert 0 <= parts.bracket <= 4
    assert parts.search - parts.bracket >= FIRST


def test_seeds_that_are_asked_for_are_given():
    assert shares(30, seeds=5).seeds == 5
    assert shares(30, seeds=5).finals == 15


def test_a_budget_without_room_says_what_is_needed():
    with pytest.raises(UserError, match=r"--budget=10 is too small: .* need 11"):
        shares(10)
    with pytest.raises(UserError, match="need 20"):
        shares(19, seeds=5)
    assert shares(20, seeds=5).search == FIRST


def test_hours_are_cells():
    assert cells(1, 60) == 60
    with pytest.raises(UserError, match=r"--hours=0.1 is too short: a cell took 60 s, and 11 are needed, --hours=0.18"):
        cells(0.1, 60)
    assert cells(0.19, 60) == 11
