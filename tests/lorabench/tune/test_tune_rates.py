"""The first learning rates."""

import math

import pytest

from lorabench.tune.rates import AROUND, STEPS, beyond, first_rates, rule


@pytest.mark.parametrize("width", [64, 128, 576, 896, 2048, 4096, 8192])
def test_the_rule_is_in_the_middle_on_the_steps_of_paper_1(width):
    rates = first_rates(width)
    assert len(rates) == 2 * AROUND + 1
    assert abs(math.log10(rates[AROUND] / rule(width))) <= 0.5 / STEPS + 1e-4
    for rate in rates:
        assert STEPS * math.log10(rate / 2) == pytest.approx(round(STEPS * math.log10(rate / 2)), abs=1e-3)


def test_wider_models_want_lower_rates():
    assert rule(8192) < rule(4096) < rule(128)
    assert rule(2000) == pytest.approx(5e-4)  # ten times full fine-tuning's 5e-5


def test_the_step_beyond_goes_on():
    rates = first_rates(128)
    assert beyond(rates[:-1], upwards=True) == rates[-1]
    assert beyond(rates[1:], upwards=False) == rates[0]
