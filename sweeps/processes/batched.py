"""Gaussian processes for few observations, many fitted at once: hyperparameters at their posterior mode, and honest densities.

The model is BoTorch's ``SingleTaskGP`` with a Matérn-5/2 kernel, its priors as there (Hvarfner et al. 2024, arXiv 2402.02229),
k(z, z') = (1 + √5 r + 5r²/3) exp(−√5 r), r² = Σ_j (z_j − z'_j)²/ℓ_j². Here it comes in batches, of which each member may leave
out some observations, so that the refits of a cross-validation cost little more than one fit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

FOLDS = 5
"""Of the cross-validation; the usual number (Hastie et al. 2009, 7.10)."""

STEPS = 60
"""Of Adam; few, against overfitting and for speed. Not tuned."""

LR = 0.1
"""For logarithms of noise and length scales; a third of it in the last two fifths of the steps."""

NOISE = (-4.0, 1.0)
"""Mean and deviation of the logarithm of the noise's variance, scores having unit variance; BoTorch's."""

LEAST_NOISE, LEAST_LENGTH = 1e-4, 0.025
"""Lower ends; BoTorch's."""


@dataclass(frozen=True)
class Fit:
    """A batch of fitted processes.

    Attributes:
        features: of the observations [b, n, k].
        scores: [b, n].
        kept: 1 for the observations that a process knows, 0 for those left out [b, n].
        length: scales [b, k].
        noise: variance [b].
        mean: [b].
        root: Cholesky factor of the covariance of the observations [b, n, n].
        weights: its inverse times (scores − mean) [b, n].
    """

    features: torch.Tensor
    scores: torch.Tensor
    kept: torch.Tensor
    length: torch.Tensor
    noise: torch.Tensor
    mean: torch.Tensor
    root: torch.Tensor
    weights: torch.Tensor

    def predict(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance [b, m] of the noiseless score at features [b, m, k].

        μ(z) = μ + k(z)ᵀ K⁻¹ (y − μ), σ²(z) = 1 − k(z)ᵀ K⁻¹ k(z), with k(z) the correlations with the observations known and K
        their covariance, noise included.
        """
        cross = matern(features, self.features, self.length) * self.kept[:, None]
        mean = self.mean[:, None] + (cross @ self.weights[..., None])[..., 0]
        explained = torch.linalg.solve_triangular(self.root, cross.mT, upper=False).square().sum(1)
        return mean, (1 - explained).clamp(min=1e-10)

    def left_out(self) -> torch.Tensor:
        """Log density of each observation that a process does not know [b, n]; 0 for those it knows.

        log N(y; μ(z), σ²(z) + noise).
        """
        mean, variance = self.predict(self.features)
        variance = variance + self.noise[:, None]
        density = -0.5 * ((self.scores - mean) ** 2 / variance + variance.log() + math.log(2 * math.pi))
        return density * (1 - self.kept)

    def last(self) -> "Fit":
        """The last of the batch alone."""
        return Fit(*(getattr(self, attribute.name)[-1:] for attribute in fields(self)))


def matern(rows: torch.Tensor, columns: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Matérn-5/2 correlations k(z, z') [b, n, m] of rows z [b, n, k] and columns z' [b, m, k] with length scales ℓ [b, k].

    >>> points = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    >>> matern(points, points, torch.ones(1, 1, dtype=torch.float64)).round(decimals=3).tolist()
    [[[1.0, 0.524], [0.524, 1.0]]]
    """
    rows, columns = rows / length[:, None], columns / length[:, None]
    squares = rows.square().sum(-1)[:, :, None] + columns.square().sum(-1)[:, None] - 2 * rows @ columns.mT
    squares = squares.clamp(min=1e-12)  # the root's gradient is infinite at 0
    distances = math.sqrt(5) * squares.sqrt()
    return (1 + distances + 5 / 3 * squares) * (-distances).exp()


def fit(
    features: Callable[[], torch.Tensor],
    scores: torch.Tensor,
    kept: torch.Tensor,
    extent: float = 1.0,
    shared: bool = False,
    trained: Sequence[torch.Tensor] = (),
    penalty: Callable[[], torch.Tensor] | None = None,
    lr: float = LR,
) -> Fit:
    """Hyperparameters, and what the features depend on, where log p(scores | features) + log p(all that is fitted) is largest.

    The mean has no prior and is solved for: μ = 1ᵀK⁻¹y / 1ᵀK⁻¹1. An observation left out has a row of the identity in K, and so
    no part in the likelihood.

    Args:
        features: called for the observations' features [b, n, k] from the present values of ``trained``.
        scores: standardised [b, n].
        kept: 1, or 0 for an observation left out [b, n].
        extent: range of a feature; the prior of length scales is BoTorch's for a range of 1.
        shared: one length scale for all features.
        trained: leaves that the features depend on.
        penalty: their −log prior [b].
        lr: Adam's for them.

    Raises:
        torch.linalg.LinAlgError: a covariance that is not positive definite.
    """
    b = len(scores)
    with torch.no_grad():
        k = 1 if shared else features().shape[-1]
    scale = (math.sqrt(2) + math.log(k) / 2 + math.log(extent), math.sqrt(3))
    log_length = scores.new_full((b, k), scale[0] - scale[1] ** 2).requires_grad_(True)  # the priors' modes
    log_noise = scores.new_full((b,), NOISE[0] - NOISE[1] ** 2).requires_grad_(True)
    groups: list[dict[str, Any]] = [{"params": [log_length, log_noise], "lr": LR}]
    groups += [{"params": list(trained), "lr": lr}] if trained else []
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 0.6 * STEPS else 0.3)

    def given_hyperparameters() -> Fit:
        z = features()
        length = (log_length.exp() + LEAST_LENGTH * extent).expand(-1, z.shape[-1])
        return condition(z, scores, kept, length, log_noise.exp() + LEAST_NOISE)

    for _ in range(STEPS):
        optimizer.zero_grad()
        present = given_hyperparameters()
        residual = (scores - present.mean[:, None]) * kept
        likelihood = -0.5 * (residual * present.weights).sum(1) - present.root.diagonal(dim1=1, dim2=2).log().sum(1)
        prior = _log_normal(log_length, *scale).sum(1) + _log_normal(log_noise, *NOISE)
        loss = -(likelihood + prior) if penalty is None else penalty() - likelihood - prior
        loss.sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return given_hyperparameters()


def condition(
    features: torch.Tensor, scores: torch.Tensor, kept: torch.Tensor, length: torch.Tensor, noise: torch.Tensor
) -> Fit:
    """The processes with these hyperparameters, given the observations; shapes as in ``Fit``.

    Raises:
        torch.linalg.LinAlgError: a covariance that is not positive definite.
    """
    covariance = matern(features, features, length) * kept[:, :, None] * kept[:, None]
    covariance = covariance + torch.diag_embed(noise[:, None] * kept + (1 - kept))
    root = torch.linalg.cholesky(covariance)
    ones, values = torch.cholesky_solve(torch.stack([kept, scores * kept], -1), root).unbind(-1)
    mean = (kept * values).sum(1) / (kept * ones).sum(1).clamp(min=1e-12)  # nothing kept: 0
    return Fit(features, scores, kept, length, noise, mean, root, values - mean[:, None] * ones)


def _log_normal(logarithm: torch.Tensor, mean: float, deviation: float) -> torch.Tensor:
    """Log density of a log-normal variable, up to a constant."""
    return -logarithm - 0.5 * ((logarithm - mean) / deviation) ** 2


def splits(n: int) -> torch.Tensor:
    """What each refit knows [folds + 1, n]: without each of (at most) `FOLDS` folds, and last everything.

    Folds are interleaved, since neighbours in time are alike: a search asks near what was good.

    >>> splits(3).tolist()
    [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    folds = min(FOLDS, n)
    kept = torch.ones(folds + 1, n, dtype=torch.float64)
    kept[torch.arange(n) % folds, torch.arange(n)] = 0
    return kept
