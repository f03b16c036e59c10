"""Learning rates to try for LoRA on a model of which nothing is known but its width."""

import math
from collections.abc import Sequence

STEPS = 4
"""Learning rates in a decade, 2·10^(j/4): the steps of paper 1's grid (arXiv 2602.04998)."""

AROUND = 3
"""Steps to each side of the rule's learning rate: seven in all, over one and a half decades."""


def rule(width: int) -> float:
    """LoRA's learning rate by the hidden size H: 10 · 5e-5 · (2000/H)^0.781.

    A fit to Llama models (Schulman et al. 2025, "LoRA Without Regret", and the code beside it); for Qwen's the exponent is
    0.0775. The embedded model, of H = 128, is best at 3.6e-3 (results/variants.md), by the rule at 4.3e-3:

    >>> f"{rule(128):.1e} {rule(576):.1e} {rule(4096):.1e}"
    '4.3e-03 1.3e-03 2.9e-04'
    """
    return 10 * 5e-5 * (2000 / width) ** 0.781


def first_rates(width: int) -> list[float]:
    """Seven learning rates around the rule's.

    >>> first_rates(128)
    [0.00063246, 0.0011247, 0.002, 0.0035566, 0.0063246, 0.011247, 0.02]
    """
    centre = round(STEPS * math.log10(rule(width) / 2))
    return [step(j) for j in range(centre - AROUND, centre + AROUND + 1)]


def beyond(rates: list[float], upwards: bool) -> float:
    """The next step outside, on paper 1's grid where the end is on it.

    >>> beyond([1e-3, 2e-3], True), beyond([1e-3, 2e-3], False)
    (0.0035566, 0.00056234)
    """
    place = STEPS * math.log10((max(rates) if upwards else min(rates)) / 2)
    on_grid = abs(place - round(place)) < 1e-3  # five digits are not exact
    return step((round(place) if on_grid else place) + (1 if upwards else -1))


def shifted(rates: Sequence[float], steps: int) -> list[float]:
    """Learning rates so many steps higher.

    >>> shifted([2e-3, 3.5566e-3], -4)
    [0.0002, 0.00035566]
    """
    return [step(round(STEPS * math.log10(rate / 2)) + steps) for rate in rates]


def step(j: float) -> float:
    """2·10^(j/4), to five digits."""
    return float(f"{2 * 10 ** (j / STEPS):.4e}")
