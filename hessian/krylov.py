"""The space that a Lanczos run spans: its orthonormal basis, what H makes of it, and the Ritz pairs within."""

import functools
import math
from collections.abc import Generator
from typing import NamedTuple

import torch

ROWS = 12
"""Basis vectors whose memory is taken at a time."""

NOISE = 10
"""What is below NOISE · eps(dtype) · max‖Hq‖ counts as rounding, so scales 1e-8 and 1e+8 behave alike."""

Products = Generator[torch.Tensor, torch.Tensor, None]
"""Yields a vector, wants its product."""


class Ritz(NamedTuple):
    """The wanted Ritz pairs: the k largest (fewer while the basis is smaller), then the smallest."""

    values: torch.Tensor  # [k + 1]
    residuals: torch.Tensor  # [k + 1]
    allowed: torch.Tensor  # [k + 1], what a residual or a movement may be
    coefficients: torch.Tensor  # [size, k + 1], over the basis

    def agrees(self, earlier: torch.Tensor) -> bool:
        """Whether the values have not moved from ``earlier`` ones by more than is allowed."""
        return len(earlier) == len(self.values) and bool(((self.values - earlier).abs() <= self.allowed).all())


class Space:
    """An orthonormal basis q with H q_j = Σ_i S_ij q_i + t_j; the tails t_j ⟂ basis are kept where a run may be resumed.

    Args:
        n: dimension of H.
        dtype: of the products; the basis and every sum over it are float64.
        device: where products and basis live.

    Attributes:
        projected: S [size, size], tridiagonal but for rounding within one run.
        tails: t_j [n] by j, of the basis vectors that no other one follows.
        size: number of basis vectors.
        scale: max‖Hq‖.
    """

    def __init__(self, n: int, dtype: torch.dtype, device: torch.device | str) -> None:
        self.dtype = dtype
        # Blocks of basis vectors as rows; more are added, since to copy them would take their memory twice.
        self._blocks = [torch.empty(ROWS, n, dtype=torch.float64, device=device)]
        self.projected = torch.zeros(0, 0, dtype=torch.float64)
        self.tails: dict[int, torch.Tensor] = {}
        self.size = 0
        self.scale = 0.0

    @property
    def noise(self) -> float:
        """The rounding of the products."""
        return NOISE * torch.finfo(self.dtype).eps * self.scale

    @property
    def symmetric(self) -> torch.Tensor:
        """(S + Sᵀ)/2."""
        return (self.projected + self.projected.T) / 2

    @property
    def basis(self) -> list[torch.Tensor]:
        """The basis vectors as rows, in blocks [ROWS or fewer, n]."""
        return [block[: self.size - ROWS * i] for i, block in enumerate(self._blocks)]

    def combine(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Σ_i q_i c_i [n, …] of coefficients [size, …]."""
        parts = coefficients.split(ROWS)
        return functools.reduce(torch.add, (rows.T @ part for rows, part in zip(self.basis, parts, strict=True)))

    def rest(self, j: int) -> float:
        """‖t_j‖."""
        return float(self.tails[j].norm())

    def split(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients [size] over the basis and the remainder [n]; the second pass removes what rounding left."""
        first = torch.cat([rows @ vector for rows in self.basis])
        vector = vector - self.combine(first)
        second = torch.cat([rows @ vector for rows in self.basis])
        return first + second, vector - self.combine(second)

    def resume(self, source: int) -> Products:
        """Go on with the tail of basis vector ``source``."""
        if source != self.size - 1:  # the newest one has just been orthogonalised
            self.tails[source] = self.split(self.tails[source])[1]
        yield from self.append(self.tails[source])
        del self.tails[source]

    def append(self, vector: torch.Tensor) -> Products:
        """Take ``vector`` [n], orthogonal to the basis, as the next direction, with its product."""
        m, n = self.size, len(vector)
        q = vector / vector.norm()
        self.projected = torch.nn.functional.pad(self.projected, (0, 1, 0, 1))
        for j, tail in self.tails.items():
            coefficient = torch.dot(q, tail)
            self.projected[m, j] = coefficient
            self.tails[j] = tail - coefficient * q
        if m == ROWS * len(self._blocks):
            self._blocks.append(torch.empty_like(self._blocks[0]))
        self._blocks[-1][m % ROWS] = q
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

    def ritz(self, k: int, tol: float) -> Ritz:
        """The k largest and the smallest pair; of these, tol and √tol are demanded."""
        theta, vectors = torch.linalg.eigh(self.symmetric)
        order = [*range(self.size - 1, max(self.size - 1 - k, -1), -1), 0]
        values, coefficients = theta[order], vectors[:, order]
        tails = torch.stack(list(self.tails.values()), dim=1)
        outside = tails @ coefficients[list(self.tails)].to(tails.device)
        inside = self.projected @ coefficients - coefficients * values  # what rounding or asymmetry leaves
        residuals = torch.hypot(inside.norm(dim=0), outside.norm(dim=0).cpu())
        allowed = tol * values.abs()
        allowed[-1] = math.sqrt(tol) * values.abs().max()
        return Ritz(values, residuals, allowed.clamp(min=self.noise), coefficients)

    def top(self, count: int) -> torch.Tensor:
        """The Ritz vectors of the largest values, [n, count]."""
        vectors = torch.linalg.eigh(self.symmetric).eigenvectors.flip(1)[:, :count]
        return self.combine(vectors.to(self._blocks[0].device))

    def most_wanted(self, ritz: Ritz) -> int | None:
        """The tail with the largest part in a residual, relative to what that may be; None if only noise is left."""
        weights = (ritz.coefficients.abs() / ritz.allowed).amax(dim=1)
        candidates = [j for j in self.tails if self.rest(j) > self.noise]
        return max(candidates, key=lambda j: float(weights[j]) * self.rest(j), default=None)
