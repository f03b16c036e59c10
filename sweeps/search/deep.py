"""Deep-kernel Gaussian processes for few observations: learned features under a Matérn kernel, by marginal likelihood."""

import math
from collections.abc import Callable
from typing import Any

import torch

WIDTH = 64
"""Features of the projection (paper 2, arXiv 2602.11171)."""

LR = 2e-3
"""AdamW's for projection and token (paper 2)."""

LR_GP = 0.05
"""For noise, outputscale and length scale; paper 2's 0.2 oscillates where they have priors."""

WEIGHT_DECAY = 1e-2
"""Towards the start, not towards zero: few observations move the projection only where they agree."""


class Standard:
    """x centred on all candidates and divided by its spread along the first principal axis: distances keep their proportions.

    Args:
        candidates: x of all candidates [candidates, d].
    """

    def __init__(self, candidates: torch.Tensor) -> None:
        self.center = candidates.mean(0)
        values, axes = torch.linalg.eigh(torch.cov((candidates - self.center).T).reshape(candidates.shape[1], -1))
        self.spread = values[-1].clamp(min=1e-12).sqrt()
        self.axes = axes.flip(1)[:, :WIDTH].T
        self.table = self(candidates)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised x [n, d]."""
        return (x - self.center) / self.spread


class Projection(torch.nn.Module):
    """z = ELU(Wx + b), scaled to [−1, 1] by the largest and the smallest feature of the observations.

    W starts as principal axes, so that before any fit the kernel sees distances of x itself, not of a random image of it.

    Args:
        axes: [width, d], where W starts.
    """

    def __init__(self, axes: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(axes.clone())
        self.bias = torch.nn.Parameter(axes.new_zeros(len(axes)))
        self.axes = axes
        self.bounds = axes.new_tensor([-1.0, 1.0])

    def forward(self, x: torch.Tensor, observed: bool = False) -> torch.Tensor:
        """Features [n, WIDTH] of x [n, d]; those of the observations set the scale."""
        z = torch.nn.functional.elu(x @ self.weight.T + self.bias)
        if observed:
            self.bounds = torch.stack([z.min(), z.max()]).detach()
        low, high = self.bounds
        return (2 * (z - low) / (high - low).clamp(min=1e-9) - 1).clamp(-2, 2)

    def decay(self) -> torch.Tensor:
        """Squared distance from the start."""
        return ((self.weight - self.axes) ** 2).sum() + (self.bias**2).sum()


def process(points: torch.Tensor, scores: torch.Tensor) -> Any:
    """A Matérn-5/2 process with one length scale for all features; priors as BoTorch's, for as many dimensions as there are."""
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import MaternKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.priors import LogNormalPrior

    # BoTorch's own constraints have no transform, for L-BFGS-B; Adam would step out of them.
    scale = LogNormalPrior(math.sqrt(2) + math.log(points.shape[1]) / 2, math.sqrt(3))
    noise = LogNormalPrior(-4.0, 1.0)
    kernel = MaternKernel(
        nu=2.5, lengthscale_prior=scale, lengthscale_constraint=GreaterThan(0.025, initial_value=scale.mode.item())
    )
    likelihood = GaussianLikelihood(noise_prior=noise, noise_constraint=GreaterThan(1e-4, initial_value=noise.mode.item()))
    return SingleTaskGP(points, scores[:, None], covar_module=kernel, likelihood=likelihood, outcome_transform=None)


def train(
    model: Any,
    inputs: Callable[[], torch.Tensor],
    projection: Projection | None,
    token: torch.Tensor | None,
    steps: int,
) -> None:
    """Maximise the marginal likelihood, with the priors, over the process and what its inputs depend on.

    Args:
        model: of ``process``.
        inputs: the observations' features [n, d] from the present projection and token.
        projection: trained where given.
        token: trained where given.
        steps: of Adam.
    """
    from gpytorch.mlls import ExactMarginalLogLikelihood

    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": LR_GP}]
    if projection is not None:
        groups.append({"params": list(projection.parameters()), "lr": LR})
    if token is not None:
        groups.append({"params": [token], "lr": LR})
    optimizer = torch.optim.Adam(groups)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.set_train_data(inputs=inputs(), strict=False)
        loss = -likelihood(model(*model.train_inputs), model.train_targets)
        if projection is not None:
            loss = loss + WEIGHT_DECAY * projection.decay()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        model.set_train_data(inputs=inputs(), strict=False)
    model.eval()


def left_out(model: Any) -> float:
    """Mean log density of each observation given the others, in closed form (Rasmussen & Williams 2006, eq. 5.10 to 5.12)."""
    with torch.no_grad():
        x, y = model.train_inputs[0], model.train_targets
        n = len(y)
        covariance = model.covar_module(x).to_dense() + model.likelihood.noise * torch.eye(n, dtype=x.dtype)
        inverse = torch.linalg.inv(covariance)
        residual = y - model.mean_module(x)
        variance = 1 / inverse.diagonal()
        error = (inverse @ residual) * variance
        return float((-0.5 * (error**2 / variance + variance.log() + math.log(2 * math.pi))).mean())
