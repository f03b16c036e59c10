"""Upper bounds of λmax from a Lanczos run, beside which its Ritz values are lower bounds."""

import math
from collections.abc import Mapping

import torch


def outer_bound(block: torch.Tensor, last: float, n: int, failure: float) -> float:
    """A bound on λmax from one Lanczos run with a Gaussian start (van Dorsselaer, Hochstenbach & van der Vorst 2000).

    For the top eigenvector u and the run's vectors q₁ … q_{m+1}, uᵀq_{m+1} = p(λmax) · uᵀq₁ with p(x) = Π(x − θ_i)/Πβ_i.
    As |uᵀq_{m+1}| ≤ 1, p(λmax) ≤ 1/c unless |uᵀq₁| < c, and for a Gaussian start P(|uᵀq₁| < c) ≤ c·√(2n/π) = failure. Beyond
    the largest θ, p grows, so λmax is at most the x there with p(x) = 1/c. It holds for every m at once, and for any H.

    Of a run whose Ritz values approach 2 from below, in 10⁶ dimensions:

    >>> def chain(m):
    ...     return torch.diag(torch.ones(m - 1), 1).double() + torch.diag(torch.ones(m - 1), -1).double()
    >>> [round(outer_bound(chain(m), last=1.0, n=10**6, failure=0.01), 2) for m in (5, 10, 20, 40, 80)]
    [9.64, 3.38, 2.3, 2.07, 2.01]

    Args:
        block: [m, m], the run's tridiagonal matrix, with eigenvalues θ and β₁ … β_{m−1} beside the diagonal.
        last: β_m, the norm of the run's remainder.
        n: dimension, or more.
        failure: probability of failure.
    """
    theta, beta = torch.linalg.eigvalsh(block), block.diagonal(-1)
    if last == 0:  # an invariant subspace: p is infinite beyond its largest θ
        return float(theta[-1])
    level = float(beta.log().sum()) + math.log(last / failure * math.sqrt(2 * n / math.pi))
    gaps = theta[-1] - theta
    log_t = level / len(theta)  # x = θ_m + t: Σ log(t + gap_i) is convex in log t, so Newton from above stays above
    for _ in range(50):
        shifted = gaps + math.exp(log_t)
        excess = float(shifted.log().sum()) - level
        if excess < 1e-6:
            break
        log_t -= excess / float((math.exp(log_t) / shifted).sum())
    return float(theta[-1]) + math.exp(log_t)


def frame(symmetric: torch.Tensor, tails: Mapping[int, torch.Tensor]) -> torch.Tensor:
    """[[S, Cᵀ], [C, 0]] with CᵀC = RᵀR; [[0]] of an empty basis. With ω for the zeros its eigenvalues bound those of H.

    >>> frame(torch.tensor([[2.0]]).double(), {0: torch.tensor([0.0, 3.0, 4.0]).double()}).abs()
    tensor([[2., 5.],
            [5., 0.]], dtype=torch.float64)

    Args:
        symmetric: S = QᵀHQ, [m, m], of the basis Q.
        tails: the columns of R = HQ − QS that are not zero, by their numbers, each [n].
    """
    m, ends = len(symmetric), list(tails)
    corner = torch.zeros(1, 0, dtype=torch.float64)
    if ends:
        corner = torch.linalg.qr(torch.stack(list(tails.values()), dim=1)).R.cpu()
    matrix = torch.zeros(m + len(corner), m + len(corner), dtype=torch.float64)
    matrix[:m, :m] = symmetric
    matrix[m:, ends] = corner
    matrix[ends, m:] = corner.T
    return matrix
