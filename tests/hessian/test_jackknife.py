"""Standard errors and ratios against what many fresh data sets give."""

import math

import numpy as np
import pytest

from hessian import jackknife


def draw(generator, n, p=2, heavy=0.0):
    """Sequences' parts of a p x p Hessian, a mean over tokens, with their token counts."""
    tokens = generator.integers(5, 40, n)
    noise = generator.normal(size=(n, p, p))
    signal = np.diag(np.arange(p, 0, -1.0))
    parts = signal + 0.3 * (noise + noise.transpose(0, 2, 1))
    return parts * (tokens / tokens.sum())[:, None, None], tokens.tolist()


def test_the_standard_error_is_the_spread_over_data_sets():
    generator = np.random.default_rng(0)
    values, errors = [], []
    for _ in range(400):
        parts, tokens = draw(generator, 40)
        estimate = jackknife.largest(parts, tokens)
        values.append(estimate.value)
        errors.append(jackknife.interval(estimate).stderr)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)


def test_intervals_of_the_ratio_cover():
    """Paired sequences share their noise, which a ratio of independent intervals would not know."""
    generator = np.random.default_rng(1)
    hits, widths = 0, []
    for _ in range(300):
        n = 30
        tokens = generator.integers(5, 40, n)
        shared = generator.lognormal(sigma=0.5, size=n)
        sharper = 6 * shared * generator.lognormal(sigma=0.1, size=n)
        weights = tokens / tokens.sum()
        a, b = (jackknife.largest((x * weights)[:, None, None], tokens.tolist()) for x in (sharper, 2 * shared))
        ratio = jackknife.log_ratio(a, b)
        hits += ratio.low <= math.log(3 * math.exp(0.005)) <= ratio.high
        widths.append(ratio.high - ratio.low)
    assert 0.90 <= hits / 300 <= 0.99
    assert np.mean(widths) < 0.12  # unpaired it would be 0.5


def test_without_one_sequence_the_mean_is_over_the_others_tokens():
    parts, tokens = np.array([3.0, 1.0, 2.0])[:, None, None], [10, 20, 30]
    estimate = jackknife.largest(parts, tokens)
    assert estimate.value == pytest.approx(6.0)
    assert estimate.left_out == pytest.approx([3 * 60 / 50, 5 * 60 / 40, 4 * 60 / 30])


def test_the_next_vector_takes_over_when_a_dominating_sequence_is_left_out():
    parts = np.zeros((4, 2, 2))
    parts[0, 0, 0] = 100.0
    parts[:, 1, 1] = 1.0
    estimate = jackknife.largest(parts, [10, 10, 10, 10])
    assert estimate.value == pytest.approx(100.0)
    assert estimate.left_out[0] == pytest.approx(4.0)  # (4 − 1)·40/30, not 0


def test_sequences_without_targets_do_not_count():
    parts, tokens = draw(np.random.default_rng(2), 10)
    more = np.concatenate([parts, np.zeros((3, 2, 2))])
    assert jackknife.largest(more, [*tokens, 0, 0, 0]) == jackknife.largest(parts, tokens)
    with pytest.raises(ValueError, match="at least two sequences"):
        jackknife.largest(parts[:2], [10, 0])


def test_a_ratio_needs_positive_values():
    good, bad = jackknife.Estimate(2.0, [1.0, 3.0]), jackknife.Estimate(1.0, [-0.5, 2.5])
    assert jackknife.log_ratio(good, bad) is None
    assert jackknife.log_ratio(bad, good) is None
    same = jackknife.log_ratio(good, good)
    assert (same.value, same.stderr) == (0.0, 0.0)


def test_growth_ends_with_all_sequences():
    parts, tokens = draw(np.random.default_rng(3), 50)
    rows = jackknife.growth(parts, tokens)
    assert [row["sequences"] for row in rows] == [8, 16, 32, 50]
    whole = jackknife.interval(jackknife.largest(parts, tokens))
    assert rows[-1] == {"sequences": 50, "value": whole.value, "low": whole.low, "high": whole.high}
    eight = jackknife.largest(parts[:8] * sum(tokens) / sum(tokens[:8]), tokens[:8])
    assert rows[0]["value"] == pytest.approx(eight.value)
    assert rows[0]["high"] - rows[0]["low"] > rows[-1]["high"] - rows[-1]["low"]
