"""Lanczos against dense and ARPACK eigenvalues: known hard spectra, unlucky starts, noise, and honest error bars."""

import math

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from hessian import lanczos as module
from hessian.bound import outer_bound
from hessian.lanczos import lanczos

N = 150


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def first_start(n, seed=0):
    """The vector from which a run with ``generator(seed)`` starts, of length 1."""
    vector = torch.randn(n, generator=generator(seed), dtype=torch.float64)
    return vector / vector.norm()


def with_spectrum(values, columns=None):
    """A dense symmetric matrix with these eigenvalues, whose first eigenvectors span ``columns`` [n, few] in order."""
    values = torch.as_tensor(values, dtype=torch.float64)
    n = len(values)
    vectors = torch.randn(n, n, generator=generator(99), dtype=torch.float64)
    if columns is not None:
        vectors[:, : columns.shape[1]] = columns
    q = torch.linalg.qr(vectors).Q
    matrix = (q * values) @ q.T
    return (matrix + matrix.T) / 2


def run(matrix, *, seed=0, **options):
    """The result, after the checks that hold for any: products counted, residuals and bounds of the dense matrix."""
    calls = 0

    def matvec(vector):
        nonlocal calls
        calls += 1
        return matrix @ vector

    n, k = len(matrix), options.get("k", 1)
    result = lanczos(matvec, n, generator=generator(seed), **options)
    assert result.iterations == calls <= options.get("max_iter", 100)
    assert len(result.eigenvalues) == len(result.residuals) == min(k, result.iterations)
    dense = matrix.double()
    noise = 30 * torch.finfo(matrix.dtype).eps * torch.linalg.matrix_norm(dense, 2)
    theta = torch.tensor(result.eigenvalues, dtype=torch.float64)
    left = (dense @ result.vectors - result.vectors * theta).norm(dim=0)
    assert torch.allclose(left, torch.tensor(result.residuals, dtype=torch.float64), rtol=1e-4, atol=float(noise))
    gram = result.vectors.T @ result.vectors
    assert torch.allclose(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-12)
    exact = torch.linalg.eigvalsh(dense)
    assert result.upper >= exact[-1] - noise
    for value, residual in zip((*theta, result.smallest), (*result.residuals, result.smallest_residual), strict=True):
        assert (exact - value).abs().min() <= residual + noise
    assert result.smallest >= exact[0] - noise
    return result


def assert_found(result, matrix, tol=1e-3):
    exact = torch.linalg.eigvalsh(matrix.double())
    size = float(exact.abs().max())
    noise = 30 * torch.finfo(matrix.dtype).eps * size
    assert result.converged
    for found, wanted in zip(result.eigenvalues, exact.flip(0), strict=False):
        assert abs(found - float(wanted)) <= tol * abs(float(wanted)) + noise
    for found, residual in zip(result.eigenvalues, result.residuals, strict=True):
        assert residual <= tol * abs(found) + noise
    assert abs(result.smallest - float(exact[0])) <= math.sqrt(tol) * size + noise
    assert result.smallest_residual <= math.sqrt(tol) * size + noise
    assert result.iterations >= min(module.MIN_STEPS, len(matrix))


def decaying(n=N):
    return 1 / torch.arange(1, n + 1, dtype=torch.float64)


SPECTRA = {
    "indefinite, |λmin| > λmax": torch.cat([decaying(100), -5 * decaying(50)]),
    "± symmetric": torch.cat([decaying(75), -decaying(75)]),
    "all negative": -1.0 - 4 * decaying(),
    "all negative, λmax alone": torch.cat([torch.tensor([-0.1]), -1.0 - decaying(N - 1)]),
    "two at a gap of 1e-6": torch.cat([torch.tensor([1.0, 1.0 - 1e-6]), 0.5 * decaying(N - 2)]),
    "clusters of gap 1e-6": (torch.arange(N) // 30).double()
    + 1e-6 * torch.rand(N, generator=generator(3), dtype=torch.float64),
    "close pairs": torch.cat([torch.tensor([1.0, 0.9999, 0.95, 0.9499, 0.9, 0.8999, 0.8]), torch.linspace(-0.6, 0.6, N - 7)]),
    "pair below the top": torch.cat([torch.tensor([5.0, 0.5, 0.5]), torch.linspace(-0.4, 0.4, N - 3)]),
    "multiple top": torch.cat([torch.full((4,), 2.0), decaying(N - 4)]),
    "zero": torch.zeros(N),
    "identity": torch.ones(N),
    "minus identity": -torch.ones(N),
    "rank one": torch.cat([torch.tensor([3.0]), torch.zeros(N - 1)]),
    "rank one, negative": torch.cat([torch.tensor([-3.0]), torch.zeros(N - 1)]),
    "rank three": torch.cat([torch.tensor([3.0, 1.0, -2.0]), torch.zeros(N - 3)]),
    "bulk with an outlier": torch.cat([torch.tensor([1.0]), torch.linspace(-0.1, 0.1, N - 1)]),
    "n = 40": torch.linspace(-1, 1, 40),
    "n = 11": torch.linspace(-1, 1, 11) ** 3,
    "n = 2": torch.tensor([-3.0, 1.0]),
    "n = 1": torch.tensor([-3.0]),
    "n = 1, zero": torch.tensor([0.0]),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SPECTRA)
def test_known_spectra(name, seed):
    matrix = with_spectrum(SPECTRA[name])
    assert_found(run(matrix, seed=seed), matrix)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "k"),
    [("multiple top", 3), ("multiple top", 5), ("pair below the top", 3), ("identity", 3), ("zero", 3), ("rank three", 4)],
)
def test_copies_of_an_eigenvalue_are_counted(name, k, seed):
    matrix = with_spectrum(SPECTRA[name])
    assert_found(run(matrix, seed=seed, k=k), matrix)


@pytest.mark.parametrize("name", ["two at a gap of 1e-6", "close pairs", "indefinite, |λmin| > λmax", "± symmetric"])
def test_several_eigenvalues(name):
    matrix = with_spectrum(SPECTRA[name])
    assert_found(run(matrix, k=3), matrix)


def test_the_smallest_is_held_to_the_root_of_tol():
    matrix = with_spectrum([1.0, *torch.linspace(-1, 0.3, N - 1).tolist()])
    assert_found(run(matrix, tol=1e-5), matrix, tol=1e-5)


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
    assert_found(run(matrix), matrix)


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
    assert_found(both, matrix)
    assert both.starts > 2  # one that raised the value, one that confirms it
    assert both.upper <= 1.01


def test_a_value_on_the_move_is_not_believed():
    """At the twelfth product the residual of 0.9 is small, but 0.9 has only just been reached."""
    assert run(unlucky(0.9, 0.5, 1e-5), starts=1).eigenvalues[0] == pytest.approx(1.0, rel=1e-3)


def test_the_second_start_costs_few_products():
    matrix = with_spectrum(SPECTRA["indefinite, |λmin| > λmax"])
    alone, both = run(matrix, starts=1), run(matrix)
    assert (alone.starts, both.starts) == (1, 2)
    assert alone.iterations <= module.MIN_STEPS + 1
    assert both.iterations <= alone.iterations + 8
    assert both.upper - both.eigenvalues[0] < 1e-3 * (alone.upper - alone.eigenvalues[0])


@pytest.mark.parametrize("name", ["indefinite, |λmin| > λmax", "bulk with an outlier", "rank three", "multiple top"])
@pytest.mark.parametrize("power", [-90, -27, 27, 90])
def test_scale_changes_nothing_but_the_scale(name, power):
    matrix = with_spectrum(SPECTRA[name])
    one, other = run(matrix, k=2), run(matrix * 2.0**power, k=2)  # powers of two scale without rounding
    assert (one.iterations, one.starts, one.converged) == (other.iterations, other.starts, other.converged)
    assert np.allclose(np.array(other.eigenvalues) / 2.0**power, one.eigenvalues, rtol=1e-10)
    assert other.upper / 2.0**power == pytest.approx(one.upper, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("name", SPECTRA)
def test_small_and_large_scales(name, scale):
    matrix = with_spectrum(SPECTRA[name]) * scale
    assert_found(run(matrix), matrix)


@pytest.mark.parametrize("scale", [1e-8, 1, 1e8])
@pytest.mark.parametrize("name", ["indefinite, |λmin| > λmax", "multiple top", "rank one", "zero", "n = 40", "n = 2"])
def test_products_in_float32(name, scale):
    matrix = (with_spectrum(SPECTRA[name]) * scale).float()
    assert_found(run(matrix, k=2, dtype=torch.float32), matrix)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["indefinite, |λmin| > λmax", "rank three", "multiple top"])
def test_noisy_products(name, dtype):
    """Noise far above the rounding that the dtype suggests, as reductions on many threads leave it."""
    matrix = with_spectrum(SPECTRA[name])
    noise = generator(11)

    def matvec(vector):
        assert vector.dtype == dtype
        product = matrix @ vector.double()
        error = torch.randn(N, generator=noise, dtype=torch.float64) * product.norm() / math.sqrt(N)
        return (product + 1e-5 * error).to(dtype)

    result = lanczos(matvec, N, k=2, generator=generator(), dtype=dtype)
    assert result.converged
    exact = torch.linalg.eigvalsh(matrix)
    assert np.allclose(result.eigenvalues, exact[[-1, -2]], rtol=1e-3)
    assert result.upper >= exact[-1] - 1e-4
    assert 1e-7 < result.symmetry_error < 1e-4
    assert result.vectors.dtype == torch.float64


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


def test_convergence_is_told_honestly():
    told = []
    for seed in range(12):
        values = torch.rand(N, generator=generator(seed), dtype=torch.float64) * 2 - 1
        result = run(torch.diag(values), seed=seed, max_iter=30 + 6 * seed)
        told.append(result.converged)
        if result.converged:
            assert result.eigenvalues[0] == pytest.approx(float(values.max()), rel=1e-3)
        else:
            assert result.iterations == 30 + 6 * seed
    assert 0 < sum(told) < 12


def test_a_long_basis_is_held_once_and_in_order():
    matrix = with_spectrum(torch.linspace(-1, 1, N))
    space = module._Space(N, torch.float64, "cpu")
    places = []
    for step in range(30):
        asking = space.resume(step - 1) if step else space.append(first_start(N))
        asked = next(asking)
        places.append(space.basis[0].data_ptr())
        assert torch.equal(space.basis[-1][-1], asked)
        with pytest.raises(StopIteration):
            asking.send(matrix @ asked)
    assert [len(rows) for rows in space.basis] == [12, 12, 6]
    assert len(set(places)) == 1
    basis = torch.cat(space.basis)
    assert torch.allclose(basis @ basis.T, torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.allclose(basis @ matrix @ basis.T, space.projected, rtol=0, atol=1e-13)
    assert torch.allclose(space.combine(torch.arange(30.0).double()), basis.T @ torch.arange(30.0).double())


@pytest.mark.parametrize("max_iter", [1, 4, 14])
def test_the_upper_bound_covers(max_iter):
    values = torch.cat([torch.tensor([1.0]), torch.linspace(-2, 0.9, 299)]).double()
    found = [lanczos(lambda v: values * v, 300, generator=generator(seed), max_iter=max_iter).upper for seed in range(60)]
    assert sum(upper < 1 for upper in found) <= 3  # 0.6 are expected at most; more than 3 have a probability of 0.003


def test_the_upper_bound_is_sharp(monkeypatch):
    """After one product with a projection uuᵀ, λmax exceeds the bound just if |uᵀq₁| < c: as often as stated."""
    monkeypatch.setattr(module, "FAILURE", 0.4)  # 0.2 for the first start
    n, trials = 400, 400

    def matvec(vector):
        return torch.cat([vector[:1], torch.zeros(n - 1, dtype=torch.float64)])

    missed = sum(lanczos(matvec, n, generator=generator(seed), max_iter=1).upper < 1 for seed in range(trials))
    assert 0.15 <= missed / trials <= 0.25


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_the_outer_bound_solves_its_equation(size):
    diagonal = torch.randn(size, generator=generator(size), dtype=torch.float64) / 10
    beta = torch.rand(size, generator=generator(size + 1), dtype=torch.float64) / 10 + 0.5
    block = torch.diag(diagonal) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    x = outer_bound(block, float(beta[-1]), 1000, 0.01)
    before, p = 0.0, 1.0  # the three-term recurrence of the Lanczos polynomials
    for i in range(size):
        before, p = p, ((x - float(diagonal[i])) * p - (float(beta[i - 1]) * before if i else 0.0)) / float(beta[i])
    assert x > float(torch.linalg.eigvalsh(block)[-1])
    assert p * 0.01 / math.sqrt(2000 / math.pi) == pytest.approx(1, rel=1e-4)


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


def test_the_basis_stays_orthogonal_where_the_remainders_are_tiny():
    matrix = torch.diag(10.0 ** -torch.arange(14, dtype=torch.float64))
    result = run(matrix, k=14)
    assert np.allclose(result.eigenvalues, torch.diag(matrix), atol=1e-15)


def test_a_tail_that_nearly_vanished_is_orthogonalised_again():
    matrix = with_spectrum(decaying())
    space = module._Space(N, torch.float64, "cpu")

    def answer(asking):
        vector = next(asking)
        with pytest.raises(StopIteration):
            asking.send(matrix @ vector)

    answer(space.append(first_start(N)))
    other = space.split(torch.randn(N, generator=generator(1), dtype=torch.float64))[1]
    answer(space.append(space.tails[0] + 1e-11 * other))
    answer(space.resume(0))
    [basis] = space.basis
    assert basis.shape == (3, N)
    assert torch.allclose(basis @ basis.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)


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
    one, same, other = run(matrix, seed=5), run(matrix, seed=5), run(matrix, seed=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.eigenvalues == same.eigenvalues and one.upper == same.upper and torch.equal(one.vectors, same.vectors)
    assert one.eigenvalues != other.eigenvalues
    assert one.eigenvalues == pytest.approx(other.eigenvalues, rel=1e-3)


def test_an_asymmetric_operator_shows():
    skew = torch.randn(N, N, generator=generator(8), dtype=torch.float64)
    skew = (skew - skew.T) / torch.linalg.matrix_norm(skew - skew.T, 2)
    matrix = with_spectrum(SPECTRA["indefinite, |λmin| > λmax"])
    assert run(matrix).symmetry_error < 1e-13
    found = [lanczos(lambda v, e=e: matrix @ v + e * (skew @ v), N, generator=generator()).symmetry_error for e in (1e-6, 1e-3)]
    assert found[0] > 1e-8 and found[1] > 1e-5


def test_the_asymmetry_of_two_dimensions_is_exact():
    matrix = torch.tensor([[1.0, 2.5], [2.0, -1.0]], dtype=torch.float64)  # |uᵀHv − vᵀHu| = 0.5 in every orthonormal basis
    result = lanczos(lambda v: matrix @ v, 2, generator=generator())
    assert 0.5 / torch.linalg.matrix_norm(matrix, 2) <= result.symmetry_error <= 0.5
    assert result.eigenvalues[0] == pytest.approx(math.hypot(1, 2.25))  # of the symmetric part
    assert not result.converged


def test_the_operator_may_reuse_its_memory_and_carry_a_graph():
    matrix = with_spectrum(SPECTRA["± symmetric"])
    buffer = torch.zeros(N, dtype=torch.float64)

    def careless(vector):
        buffer.copy_(matrix @ vector)
        vector.zero_()
        return buffer

    weight = matrix.clone().requires_grad_()
    plain = run(matrix)
    for matvec in (careless, lambda v: weight @ v):
        result = lanczos(matvec, N, generator=generator())
        assert result.eigenvalues == plain.eigenvalues
        assert not result.vectors.requires_grad


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_product_is_an_error(bad):
    calls = iter(range(100))

    def matvec(vector):
        product = vector.clone()
        if next(calls) == 2:
            product[3:5] = bad
        return product

    with pytest.raises(ArithmeticError, match=r"product 3 has NaN or infinity in 2 of 20 entries$"):
        lanczos(matvec, 20, generator=generator())


@pytest.mark.parametrize("wrong", [lambda v: v[:-1], lambda v: v[:, None], lambda v: v.sum()])
def test_a_product_of_another_shape_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"product 1 has shape .*, expected \[20\]$"):
        lanczos(wrong, 20, generator=generator())


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 21}, {"max_iter": 0}, {"starts": 0}, {"tol": 0.0}])
def test_arguments_out_of_range(options):
    [(name, value)] = options.items()
    with pytest.raises(ValueError, match=rf"{name}={value}"):
        lanczos(lambda v: v, 20, generator=generator(), **options)
