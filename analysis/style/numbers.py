"""How a number is written, in tables and figures alike: learning rates, scores, intervals, probabilities."""

import math


def format_lr(lr: float) -> str:
    """Four significant digits at most: 0.002 → `2e-3`, 0.00063246 → `6.325e-4`."""
    return "-" if math.isnan(lr) else _short(f"{lr:.3e}")


def exact_lr(lr: float) -> str:
    """The fewest digits that are this number, as one types it in a command: `6.3246e-4`."""
    return _short(next(text for digits in range(17) if float(text := f"{lr:.{digits}e}") == lr))


def _short(text: str) -> str:
    mantissa, exponent = text.split("e")
    digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{digits}e{int(exponent)}"


def format_score(mean: float, std: float) -> str:
    """Fractions as percent, `95.25 ± 1.06`; without `± std` where one seed gives none (std NaN); `-` for no score."""
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.2f}" if math.isnan(std) else f"{100 * mean:.2f} ± {100 * std:.2f}"


def in_points(margin: float) -> str:
    """A fraction as `1 point`, `2.5 points`."""
    return f"{100 * margin:.6g} point{'' if math.isclose(margin, 0.01) else 's'}"


def number(value: float) -> str:
    """Three significant digits, `1,234` from a thousand to a million, `-` for NaN."""
    if 999.5 <= abs(value) < 999_999.5:
        return f"{value:,.0f}"
    return "-" if math.isnan(value) else f"{value:.3g}"


def probability(p: float) -> str:
    """Three digits, `< 0.001` below them, `-` for NaN."""
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_estimate(estimate: tuple[float, float, float]) -> str:
    """Value, low and high as `-0.83 [-1.00, -0.21]`, without the ends where nothing can be said of them."""
    value, low, high = estimate
    ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{value:.2f}{ends}"
