"""Matrices with chosen eigenvalues, and the checks that hold for the result of any Lanczos run."""

import math

import torch

from hessian.lanczos import MIN_STEPS, lanczos

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


def assert_exact(result, matrix, tol=1e-3):
    exact = torch.linalg.eigvalsh(matrix.double())
    size = float(exact.abs().max())
    noise = 30 * torch.finfo(matrix.dtype).eps * size
    assert result.converged
    for value, true in zip(result.eigenvalues, exact.flip(0).tolist(), strict=False):
        assert abs(value - true) <= tol * abs(true) + noise
    for value, residual in zip(result.eigenvalues, result.residuals, strict=True):
        assert residual <= tol * abs(value) + noise
    assert abs(result.smallest - float(exact[0])) <= math.sqrt(tol) * size + noise
    assert result.smallest_residual <= math.sqrt(tol) * size + noise
    assert result.iterations >= min(MIN_STEPS, len(matrix))
