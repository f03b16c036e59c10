"""Lanczos against dense and ARPACK eigenvalues: known hard spectra, unlucky starts, and honest error bars."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from spectra import SPECTRA, N, assert_exact, decaying, first_start, generator, run, with_spectrum

from hessian.lanczos import MIN_STEPS, lanczos


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SPECTRA)
def test_known_spectra(name, seed):
    matrix = with_spectrum(SPECTRA[name])
    assert_exact(run(matrix, seed=seed), matrix)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "k"),
    [("multiple top", 3), ("multiple top", 5), ("pair below the top", 3), ("identity", 3), ("zero", 3), ("rank three", 4)],
)
def test_copies_of_an_eigenvalue_are_counted(name, k, seed):
    matrix = with_spectrum(SPECTRA[name])
    assert_exact(run(matrix, seed=seed, k=k), matrix)


@pytest.mark.parametrize("name", ["two at a gap of 1e-6", "close pairs", "indefinite, |λmin| > λmax", "± symmetric"])
def test_several_eigenvalues(name):
    matrix = with_spectrum(SPECTRA[name])
    assert_exact(run(matrix, k=3), matrix)


def test_the_smallest_is_held_to_the_root_of_tol():
    matrix = with_spectrum([1.0, *torch.linspace(-1, 0.3, N - 1).tolist()])
    assert_exact(run(matrix, tol=1e-5), matrix, tol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 13, 30])
def test_all_eigenvalues_of_a_small_matrix_are_exact(n):
    matrix = with_spectrum(torch.randn(n, generator=generator(4), dtype=torch.float64))
    result = run(matrix, k=n)
    assert result.iterations == n
    assert result.converged
    assert np.allclose(result.eigenvalues, torch.linalg.eigvalsh(matrix).flip(0), atol=1e-12)
    assert result.upper == pytest.approx(result.eigenvalues[0], abs=1e-6)


@pytest.mark.parametrize("place", ["top", "middle", "bottom"])
def test_an_exact_eigenvector_as_start(place):
    values = torch.linspace(1, -1, N).double() ** 3
    first = {"top": 0, "middle": N // 3, "bottom": N - 1}[place]
    values = torch.cat([values[first : first + 1], values[:first], values[first + 1 :]])
    matrix = with_spectrum(values, first_start(N)[:, None])
    assert_exact(run(matrix), matrix)


def unlucky(second, bulk, overlap):
    """λ1 = 1 with an eigenvector of which the first start has only ``overlap``, λ2 = ``second``, the rest in ±``bulk``."""
    start = first_start(N)
    top = torch.randn(N, generator=generator(7), dtype=torch.float64)
    top = top - (top @ start) * start
    top = top / top.norm() + overlap * start
    return with_spectrum([1.0, second, *torch.linspace(-bulk, bulk, N - 2).tolist()], top[:, None])


@pytest.mark.parametrize("overlap", [0.0, 1e-12, 1e-9])
def test_a_start_without_the_top_eigenvector_is_mended_by_the_second(overlap):
    matrix = unlucky(0.8, 0.5, overlap)
    alone = lanczos(lambda v: matrix @ v, N, generator=generator(), starts=1)
    assert alone.converged
    assert alone.eigenvalues[0] == pytest.approx(0.8, rel=1e-3)  # so the case is one
    both = run(matrix)
    assert_exact(both, matrix)
    assert both.starts > 2  # one that raised the value, one that confirms it
    assert both.upper <= 1.01


def test_a_value_on_the_move_is_not_believed():
    """At the twelfth product the residual of 0.9 is small, but 0.9 has only just been reached."""
    assert run(unlucky(0.9, 0.5, 1e-5), starts=1).eigenvalues[0] == pytest.approx(1.0, rel=1e-3)


def test_the_second_start_costs_few_products():
    matrix = with_spectrum(SPECTRA["indefinite, |λmin| > λmax"])
    alone, both = run(matrix, starts=1), run(matrix)
    assert (alone.starts, both.starts) == (1, 2)
    assert alone.iterations <= MIN_STEPS + 1
    assert both.iterations <= alone.iterations + 8
    assert both.upper - both.eigenvalues[0] < 1e-3 * (alone.upper - alone.eigenvalues[0])


@pytest.mark.parametrize("name", ["indefinite, |λmin| > λmax", "bulk with an outlier", "rank three", "multiple top"])
@pytest.mark.parametrize("power", [-90, -27, 27, 90])
def test_scale_changes_nothing_but_the_scale(name, power):
    matrix = with_spectrum(SPECTRA[name])
    plain, scaled = run(matrix, k=2), run(matrix * 2.0**power, k=2)  # powers of two scale without rounding
    assert (plain.iterations, plain.starts, plain.converged) == (scaled.iterations, scaled.starts, scaled.converged)
    assert np.allclose(np.array(scaled.eigenvalues) / 2.0**power, plain.eigenvalues, rtol=1e-10)
    assert scaled.upper / 2.0**power == pytest.approx(plain.upper, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("name", SPECTRA)
def test_small_and_large_scales(name, scale):
    matrix = with_spectrum(SPECTRA[name]) * scale
    assert_exact(run(matrix), matrix)


@pytest.mark.parametrize("max_iter", [1, 2, 5, 11, 14])
def test_too_few_products_do_not_converge(max_iter):
    result = run(with_spectrum(torch.linspace(-1, 1, N)), k=2, max_iter=max_iter)
    assert result.iterations == max_iter
    assert not result.converged


def test_a_value_that_no_further_start_has_confirmed_is_not_converged():
    matrix = with_spectrum(SPECTRA["indefinite, |λmin| > λmax"])
    assert run(matrix, starts=1, max_iter=14).converged
    result = run(matrix, max_iter=14)
    assert result.residuals[0] < 1e-3
    assert not result.converged


def test_convergence_is_reported_honestly():
    reports = []
    for seed in range(12):
        values = torch.rand(N, generator=generator(seed), dtype=torch.float64) * 2 - 1
        result = run(torch.diag(values), seed=seed, max_iter=30 + 6 * seed)
        reports.append(result.converged)
        if result.converged:
            assert result.eigenvalues[0] == pytest.approx(float(values.max()), rel=1e-3)
        else:
            assert result.iterations == 30 + 6 * seed
    assert 0 < sum(reports) < 12


def test_against_arpack():
    n = 3000
    random = np.random.default_rng(0)
    sparse = scipy.sparse.random(n, n, 0.002, random_state=random, data_rvs=random.standard_normal)
    sparse = sparse + sparse.T + scipy.sparse.diags(np.r_[30.0, 22.0, 16.0, 16.0, -50.0, random.standard_normal(n - 5)])
    result = lanczos(lambda v: torch.from_numpy(sparse @ v.numpy()), n, k=4, generator=generator())
    exact = scipy.sparse.linalg.eigsh(sparse, k=4, which="LA", return_eigenvectors=False)[::-1]
    [lowest] = scipy.sparse.linalg.eigsh(sparse, k=1, which="SA", return_eigenvectors=False)
    assert result.converged
    assert np.allclose(result.eigenvalues, exact, rtol=1e-3)
    assert result.smallest == pytest.approx(lowest, rel=1e-3)
    assert exact[0] <= result.upper <= exact[0] * 1.001


def test_more_vectors_than_values():
    matrix = with_spectrum(decaying())
    result = run(matrix)
    more = lanczos(lambda v: matrix @ v, N, keep=5, generator=generator())
    assert (more.eigenvalues, more.iterations) == (result.eigenvalues, result.iterations)
    assert more.vectors.shape == (N, 5)
    assert torch.allclose(more.vectors[:, :1], result.vectors)
    assert torch.allclose(torch.diag(more.vectors.T @ matrix @ more.vectors), decaying()[:5], atol=0.01)
    few = lanczos(lambda v: 0 * v, 3, keep=5, generator=generator())
    assert few.vectors.shape == (3, 3)


def test_the_seed_decides_to_the_bit():
    matrix = with_spectrum(SPECTRA["± symmetric"])
    state = torch.get_rng_state()
    first, same, different = run(matrix, seed=5), run(matrix, seed=5), run(matrix, seed=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.eigenvalues == same.eigenvalues and first.upper == same.upper and torch.equal(first.vectors, same.vectors)
    assert first.eigenvalues != different.eigenvalues
    assert first.eigenvalues == pytest.approx(different.eigenvalues, rel=1e-3)
