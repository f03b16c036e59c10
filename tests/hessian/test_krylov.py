"""The basis of a Lanczos run: orthogonal, in order, and held once."""

import numpy as np
import pytest
import torch
from spectra import N, decaying, first_start, generator, run, with_spectrum

from hessian.krylov import Space


def test_a_long_basis_is_held_once_and_in_order():
    matrix = with_spectrum(torch.linspace(-1, 1, N))
    space = Space(N, torch.float64, "cpu")
    places = []
    for step in range(30):
        growth = space.resume(step - 1) if step else space.append(first_start(N))
        vector = next(growth)
        places.append(space.basis[0].data_ptr())
        assert torch.equal(space.basis[-1][-1], vector)
        with pytest.raises(StopIteration):
            growth.send(matrix @ vector)
    assert [len(rows) for rows in space.basis] == [12, 12, 6]
    assert len(set(places)) == 1
    basis = torch.cat(space.basis)
    assert torch.allclose(basis @ basis.T, torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.allclose(basis @ matrix @ basis.T, space.projected, rtol=0, atol=1e-13)
    assert torch.allclose(space.combine(torch.arange(30.0).double()), basis.T @ torch.arange(30.0).double())


def test_the_basis_stays_orthogonal_where_the_remainders_are_tiny():
    matrix = torch.diag(10.0 ** -torch.arange(14, dtype=torch.float64))
    result = run(matrix, k=14)
    assert np.allclose(result.eigenvalues, torch.diag(matrix), atol=1e-15)


def test_a_tail_that_nearly_vanished_is_orthogonalised_again():
    matrix = with_spectrum(decaying())
    space = Space(N, torch.float64, "cpu")

    def multiply(growth):
        vector = next(growth)
        with pytest.raises(StopIteration):
            growth.send(matrix @ vector)

    multiply(space.append(first_start(N)))
    direction = space.split(torch.randn(N, generator=generator(1), dtype=torch.float64))[1]
    multiply(space.append(space.tails[0] + 1e-11 * direction))
    multiply(space.resume(0))
    [basis] = space.basis
    assert basis.shape == (3, N)
    assert torch.allclose(basis @ basis.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
