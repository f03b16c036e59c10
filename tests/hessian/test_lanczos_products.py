"""Lanczos on operators that are inexact, asymmetric, careless or broken."""

import math

import numpy as np
import pytest
import torch
from spectra import SPECTRA, N, assert_exact, generator, run, with_spectrum

from hessian.lanczos import lanczos


@pytest.mark.parametrize("scale", [1e-8, 1, 1e8])
@pytest.mark.parametrize("name", ["indefinite, |λmin| > λmax", "multiple top", "rank one", "zero", "n = 40", "n = 2"])
def test_products_in_float32(name, scale):
    matrix = (with_spectrum(SPECTRA[name]) * scale).float()
    assert_exact(run(matrix, k=2, dtype=torch.float32), matrix)


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


def test_an_asymmetric_operator_shows():
    skew = torch.randn(N, N, generator=generator(8), dtype=torch.float64)
    skew = (skew - skew.T) / torch.linalg.matrix_norm(skew - skew.T, 2)
    matrix = with_spectrum(SPECTRA["indefinite, |λmin| > λmax"])
    assert run(matrix).symmetry_error < 1e-13
    errors = [
        lanczos(lambda v, e=e: matrix @ v + e * (skew @ v), N, generator=generator()).symmetry_error for e in (1e-6, 1e-3)
    ]
    assert errors[0] > 1e-8 and errors[1] > 1e-5


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
