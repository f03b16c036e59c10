"""Extreme eigenvalues of a symmetric operator of which only products are known: Lanczos from several random starts."""

import functools
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from hessian.bound import frame, outer_bound

Products = Generator[torch.Tensor, torch.Tensor, None]

MIN_STEPS = 12
"""Products before any value is believed; also the most that a further start spends while it shows nothing new."""

STABLE_STEPS = 5
"""Products over which the wanted values must stand still."""

FAILURE = 0.01
"""Probability, over the random starts, with which `LanczosResult.upper` may fail."""

NOISE = 10
"""What is below NOISE · eps(dtype) · max‖Hq‖ counts as rounding, so scales 1e-8 and 1e+8 behave alike."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LanczosResult:
    """What `lanczos` found.

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
    rounding of the products (`NOISE`) is never asked for. A basis of n vectors is exact.

    *Further starts.* A start with next to nothing of the top eigenvector converges to λ₂ with a small residual. A second
    run, to be compared with the first, would pay again for all that the first has found. Here the second start is drawn
    orthogonal to the basis, which makes it a run on the rest of H. It either raises a wanted value (then it goes on until
    the rule above holds, and another start follows), or ends as soon as the bound below excludes wanted values above the
    θ found, at the latest after `MIN_STEPS` products.

    *Upper bound.* Start i bounds the largest eigenvalue ω of H on the complement of the basis Q before it (`hessian.bound`),
    with failure probability `FAILURE`/2ⁱ. With S = QᵀHQ, R = HQ − QS and x = Qa + b, b ⟂ Q, xᵀHx ≤ aᵀSa + 2‖Ra‖‖b‖ + ω‖b‖².
    So λ_j(H) is at most the j-th largest eigenvalue of [[S, Cᵀ], [C, ωI]], CᵀC = RᵀR, with ω counted n times more. `upper`
    is the least such bound on λ₁ over the starts.

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
        found = f"{k=}, {n=}, {max_iter=}, {starts=}, {tol=}"
        raise ValueError(f"lanczos: {found}: need 1 <= k <= n, max_iter >= 1, starts >= 1 and tol > 0")
    space = _Space(n, dtype, device)
    trail: list[torch.Tensor] = []  # the wanted values after each product
    frames: list[torch.Tensor] = []  # one a start: the matrix whose eigenvalues bound those of H
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


class _Ritz(NamedTuple):
    """The wanted Ritz pairs: the k largest (fewer while the basis is smaller), then the smallest."""

    values: torch.Tensor  # [k + 1]
    residuals: torch.Tensor  # [k + 1]
    allowed: torch.Tensor  # [k + 1], what a residual or a movement may be
    coefficients: torch.Tensor  # [size, k + 1], over the basis

    def agrees(self, other: torch.Tensor) -> bool:
        return len(other) == len(self.values) and bool(((self.values - other).abs() <= self.allowed).all())


class _Space:
    """An orthonormal basis q with H q_j = Σ_i S_ij q_i + t_j; the tails t_j ⟂ basis are kept where a run may be resumed."""

    def __init__(self, n: int, dtype: torch.dtype, device: torch.device | str) -> None:
        self.dtype = dtype
        # Blocks of basis vectors as rows; more are added, since to copy them would take their memory twice.
        self._blocks = [torch.empty(MIN_STEPS, n, dtype=torch.float64, device=device)]
        self.projected = torch.zeros(0, 0, dtype=torch.float64)  # S, tridiagonal but for rounding within one run
        self.tails: dict[int, torch.Tensor] = {}
        self.size = 0
        self.scale = 0.0  # max‖Hq‖

    @property
    def noise(self) -> float:
        return NOISE * torch.finfo(self.dtype).eps * self.scale

    @property
    def symmetric(self) -> torch.Tensor:
        return (self.projected + self.projected.T) / 2

    @property
    def basis(self) -> list[torch.Tensor]:
        """The basis vectors as rows, in blocks [MIN_STEPS or fewer, n]."""
        return [block[: self.size - MIN_STEPS * i] for i, block in enumerate(self._blocks)]

    def combine(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Σ_i q_i c_i [n, …] of coefficients [size, …]."""
        parts = coefficients.split(MIN_STEPS)
        return functools.reduce(torch.add, (rows.T @ part for rows, part in zip(self.basis, parts, strict=True)))

    def rest(self, j: int) -> float:
        return float(self.tails[j].norm())

    def split(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients [size] over the basis and the remainder [n]; the second pass removes what rounding left."""
        first = torch.cat([rows @ vector for rows in self.basis])
        vector = vector - self.combine(first)
        second = torch.cat([rows @ vector for rows in self.basis])
        return first + second, vector - self.combine(second)

    def resume(self, source: int) -> Products:
        """Goes on with the tail of basis vector ``source``."""
        if source != self.size - 1:  # the newest one has just been orthogonalised
            self.tails[source] = self.split(self.tails[source])[1]
        yield from self.append(self.tails[source])
        del self.tails[source]

    def append(self, vector: torch.Tensor) -> Products:
        """Takes ``vector`` [n], orthogonal to the basis, as the next direction, and asks for its product."""
        m, n = self.size, len(vector)
        q = vector / vector.norm()
        self.projected = torch.nn.functional.pad(self.projected, (0, 1, 0, 1))
        for j, tail in self.tails.items():
            along = torch.dot(q, tail)
            self.projected[m, j] = along
            self.tails[j] = tail - along * q
        if m == MIN_STEPS * len(self._blocks):
            self._blocks.append(torch.empty_like(self._blocks[0]))
        self._blocks[-1][m % MIN_STEPS] = q
        self.size += 1
        product = (yield q.to(self.dtype)).detach().to(q.device)
        if product.shape != q.shape:
            raise ValueError(f"lanczos: product {self.size} has shape {list(product.shape)}, expected [{n}]")
        if not product.isfinite().all():
            bad = n - int(product.isfinite().sum())
            raise ArithmeticError(f"lanczos: product {self.size} has NaN or infinity in {bad} of {n} entries")
        product = product.to(torch.float64)
        self.scale = max(self.scale, float(product.norm()))
        self.projected[:, m], self.tails[m] = self.split(product)

    def ritz(self, k: int, tol: float) -> _Ritz:
        theta, vectors = torch.linalg.eigh(self.symmetric)
        order = [*range(self.size - 1, max(self.size - 1 - k, -1), -1), 0]
        values, coefficients = theta[order], vectors[:, order]
        tails = torch.stack(list(self.tails.values()), dim=1)
        outside = tails @ coefficients[list(self.tails)].to(tails.device)
        inside = self.projected @ coefficients - coefficients * values  # what rounding or asymmetry leaves
        residuals = torch.hypot(inside.norm(dim=0), outside.norm(dim=0).cpu())
        allowed = tol * values.abs()
        allowed[-1] = math.sqrt(tol) * values.abs().max()
        return _Ritz(values, residuals, allowed.clamp(min=self.noise), coefficients)

    def top(self, count: int) -> torch.Tensor:
        """The Ritz vectors of the largest values, [n, count]."""
        vectors = torch.linalg.eigh(self.symmetric).eigenvectors.flip(1)[:, :count]
        return self.combine(vectors.to(self._blocks[0].device))

    def most_wanted(self, ritz: _Ritz) -> int | None:
        """The tail with the largest part in a residual, relative to what that may be; None if only noise is left."""
        weights = (ritz.coefficients.abs() / ritz.allowed).amax(dim=1)
        alive = [j for j in self.tails if self.rest(j) > self.noise]
        return max(alive, key=lambda j: float(weights[j]) * self.rest(j), default=None)
