"""The peak of many cells flatters; the cross-fitted score does not."""

import numpy as np
import pytest

from analysis.questions.selection import cross_fit


def ids(problems):
    return [[f"test/{i}" for i in range(problems)]]


def test_equal_cells_have_a_peak_above_their_truth_and_an_honest_score_at_it():
    generator = np.random.default_rng(0)
    peaks, honest = [], []
    for _ in range(60):
        cells = [[(generator.random((3, 200)) < 0.5).astype(float)] for _ in range(20)]
        fit = cross_fit(cells, ids(200))
        peaks.append(fit.peak)
        honest.append(fit.value)
    assert np.mean(peaks) > 0.53
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * np.std(honest) / 60**0.5)


def test_luck_on_problems_is_not_counted_with_one_seed():
    generator = np.random.default_rng(4)
    honest = [cross_fit([[(generator.random((1, 200)) < 0.5) * 1.0] for _ in range(20)], ids(200)).value for _ in range(60)]
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * np.std(honest) / 60**0.5)


def test_luck_of_a_seed_is_not_counted():
    """Cells that differ by the chance of training alone: choosing on the same seeds would keep their luck."""
    generator = np.random.default_rng(1)
    honest = []
    for _ in range(60):
        cells = [[np.full((3, 100), 0.5) + 0.1 * generator.standard_normal((3, 1))] for _ in range(20)]
        honest.append(cross_fit(cells, ids(100)).value)
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * np.std(honest) / 60**0.5)


def test_a_clear_best_cell_loses_nothing():
    cells = [[np.full((2, 50), value)] for value in (0.2, 0.9, 0.3)]
    fit = cross_fit(cells, ids(50))
    assert fit.value == pytest.approx(0.9)
    assert fit.chosen == pytest.approx([0, 1, 0])
    assert fit.optimism == pytest.approx(0)
    assert fit.sets[0].tolist() == [[0.9] * 50] * 2


def test_sets_count_alike():
    cells = [[np.full((1, 10), 0.2), np.full((1, 1000), 0.6)]]
    assert cross_fit(cells, [ids(10)[0], ids(1000)[0]]).value == pytest.approx(0.4, abs=0.03)
