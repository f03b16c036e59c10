"""Extreme eigenvalues of a symmetric operator of which only products are known: Lanczos from several random starts."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch

from hessian.bound import frame, outer_bound
from hessian.krylov import Space

MIN_STEPS = 12
"""Products before any value is believed; also the most that a further start spends while it shows nothing new."""

STABLE_STEPS = 5
"""Products over which the wanted values must stand still."""

FAILURE = 0.01
"""Probability, over the random starts, with which `LanczosResult.upper` may fail."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LanczosResult:
    """Eigenvalues from `lanczos`, with their errors.

    Within the residual ‖Hu − θu‖ of each value θ lies an eigenvalue of H, for one that stands alone even within residual²/gap
    (Parlett 1998, The Symmetric Eigenvalue Problem, ch. 11). Only `upper` tells whether a larger one exists.

    Attributes:
        eigenvalues: the k algebraically largest, descending.
        smallest: the algebraically smallest.
        residuals: ‖Hu − θu‖ of `eigenvalues`, in their order.
        smallest_residual: that of `smallest`, which `converged` holds to √tol · max(|largest|, |smallest|) only.
        upper: λmax ≤ upper with probability 1 − `FAILURE` or more over the starts; inf where nothing can be said.
        vectors: [n, max(k, keep)], float64, the unit vectors u of `eigenvalues`, then those of the next Ritz values.
        symmetry_error: max |uᵀHv − vᵀHu| / max‖Hq‖ over all pairs of basis vectors; rounding leaves about eps(dtype).
        iterations: products computed.
        starts: random vectors used.
        converged: whether the stop rule of `lanczos` was met.
    """

    eigenvalues: tuple[float, ...]
    smallest: float
    residuals: tuple[float, ...]
    smallest_residual: float
    upper: float
    vectors: torch.Tensor
    symmetry_error: float
    iterations: int
    starts: int
    converged: bool


def lanczos(
    matvec: Callable[[torch.Tensor], torch.Tensor],
    n: int,
    *,
    k: int = 1,
    keep: int = 1,
    max_iter: int = 100,
    tol: float = 1e-3,
    generator: torch.Generator,
    starts: int = 2,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> LanczosResult:
    """The k largest eigenvalues and the smallest one of a symmetric H [n, n], by products with it alone.

    Lanczos with full reorthogonalisation (classical Gram–Schmidt, twice); θ and u are the Ritz pairs of the whole basis.
    Where a Krylov space is exhausted, or a further start is due, the basis goes on with a random vector orthogonal to it:
    so copies of an eigenvalue, and parts of H that a start does not touch, are found too.

    *Stop rule.* At least `MIN_STEPS` products; residual ≤ tol · |θ| for each of the k; none of them moved by more than that
    over `STABLE_STEPS` products, nor since the last start began. The smallest is a by-product, held to √tol · max(|θ₁|,
    |θ_min|) in the same way: where it is the edge of a bulk, tol would take up to four times the products. Less than the
    rounding of the products (`hessian.krylov.NOISE`) is never demanded. A basis of n vectors is exact.

    *Further starts.* A start with next to nothing of the top eigenvector converges to λ₂ with a small residual. A second
    run, to be compared with the first, would pay again for all that the first has. Here the second start is drawn
    orthogonal to the basis, which makes it a run on the rest of H. It either raises a wanted value (then it goes on until
    the rule above holds, and another start follows), or ends as soon as the bound below excludes wanted values above the
    θ found, at the latest after `MIN_STEPS` products.

    *Upper bound.* Start i bounds the largest eigenvalue ω of H on the complement of the basis Q before it (`hessian.bound`),
    with failure probability `FAILURE`/2ⁱ. With S = QᵀHQ, R = HQ − QS and x = Qa + b, b ⟂ Q, xᵀHx ≤ aᵀSa + 2‖Ra‖‖b‖ + ω‖b‖².
    So λ_j(H) is at most the j-th largest eigenvalue of [[S, Cᵀ], [C, ωI]], CᵀC = RᵀR, with ω counted n times more. `upper`
    is the least such bound on λ₁ over the starts.

    >>> values = torch.cat([torch.tensor([5.0, 3.0]), torch.linspace(-2, 1, 198)]).double()
    >>> result = lanczos(lambda v: values * v, 200, k=2, generator=torch.Generator().manual_seed(0))
    >>> [round(value, 3) for value in result.eigenvalues], round(result.smallest, 1)
    ([5.0, 3.0], -2.0)
    >>> result.converged, max(result.residuals) < 1e-3 * 5, result.upper < 5.01
    (True, True, True)
    >>> result.iterations < 40  # of 200
    True

    Args:
        matvec: H times a vector [n] of `dtype` on `device`; returns [n].
        n: dimension.
        k: number of largest eigenvalues, counted with multiplicity.
        keep: number of Ritz vectors to return, where it is more than k (fewer if the basis is smaller).
        max_iter: most products.
        tol: relative tolerance.
        generator: draws each start vector as one `torch.randn` of n float64 on the generator's device.
        starts: random starts at the least; 1 leaves a missed or a multiple eigenvalue unnoticed.
        dtype: precision of the products; the basis [iterations, n] and every sum over it are float64.
        device: where products and basis live.

    Raises:
        ValueError: an argument out of range; a product that is not [n].
        ArithmeticError: NaN or infinity in a product.
    """
    steps = lanczos_steps(
        n, k=k, keep=keep, max_iter=max_iter, tol=tol, generator=generator, starts=starts, dtype=dtype, device=device
    )
    try:
        vector = next(steps)
        while True:
            vector = steps.send(matvec(vector))
    except StopIteration as finished:
        return finished.value


def lanczos_steps(
    n: int,
    *,
    k: int = 1,
    keep: int = 1,
    max_iter: int = 100,
    tol: float = 1e-3,
    generator: torch.Generator,
    starts: int = 2,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Generator[torch.Tensor, torch.Tensor, LanczosResult]:
    """``lanczos`` for callers that compute the products of several runs together: yields a vector, wants its product."""
    if not (1 <= k <= n and max_iter >= 1 and starts >= 1 and tol > 0):
        arguments = f"{k=}, {n=}, {max_iter=}, {starts=}, {tol=}"
        raise ValueError(f"lanczos: {arguments}: need 1 <= k <= n, max_iter >= 1, starts >= 1 and tol > 0")
    space = Space(n, dtype, device)
    trail: list[torch.Tensor] = []  # the wanted values after each product
    frames: list[torch.Tensor] = []  # of every start: the matrix whose eigenvalues bound those of H
    source: int | None = None
    while True:
        if source is None:
            first, pure, certified = space.size, True, False
            frames.append(frame(space.symmetric, space.tails))
            start = torch.randn(n, generator=generator, dtype=torch.float64, device=generator.device)
            yield from space.append(space.split(start.to(device))[1])
        else:
            pure = pure and source == space.size - 1
            yield from space.resume(source)
        ritz = space.ritz(k, tol)
        trail.append(ritz.values)
        full = len(ritz.values) == k + 1
        if pure:  # the rows from `first` on are plain Lanczos on the complement of those before
            block, last = space.symmetric[first:, first:], space.rest(space.size - 1)
            outside = outer_bound(block, last, n, FAILURE / 2 ** len(frames))
            frames[-1].diagonal()[first:] = outside
            framed = torch.linalg.eigvalsh(frames[-1])
            ceiling = torch.cat([framed, framed.new_full((k,), outside)]).sort(descending=True).values
            certified = full and bool((ceiling[:k] <= (ritz.values + ritz.allowed)[:k]).all())

        small = full and bool((ritz.residuals <= ritz.allowed).all())
        settled = small and space.size >= MIN_STEPS and ritz.agrees(trail[-1 - STABLE_STEPS])
        explored = certified or space.size - first >= MIN_STEPS or space.rest(space.size - 1) <= space.noise
        confirmed = len(frames) >= starts and (starts == 1 or (first > 0 and ritz.agrees(trail[first - 1])))
        converged = small if space.size == n else settled and explored and confirmed
        if converged or space.size in (n, max_iter):
            break
        if not explored:
            source = space.size - 1
        elif settled:
            source = None
        else:
            source = space.most_wanted(ritz)

    theta = float(ritz.values[0])
    bounds = (float(torch.linalg.eigvalsh(matrix)[-1]) + space.noise for matrix in frames)
    bounds = (max(bound, theta) for bound in bounds if bound >= theta - space.noise)  # θ₁ refutes what is below it
    return LanczosResult(
        eigenvalues=tuple(ritz.values[:-1].tolist()),
        smallest=float(ritz.values[-1]),
        residuals=tuple(ritz.residuals[:-1].tolist()),
        smallest_residual=float(ritz.residuals[-1]),
        upper=min(bounds, default=math.inf),
        vectors=space.top(max(k, keep)),
        symmetry_error=float((space.projected - space.projected.T).abs().max()) / (space.scale or 1.0),
        iterations=space.size,
        starts=len(frames),
        converged=converged,
    )
