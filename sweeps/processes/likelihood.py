"""A deep-kernel process as paper 2's code fits it (arXiv 2602.11171): by AdamW to the marginal likelihood, without priors.

The counterpart of ``sweeps.processes.deep``, which has priors against overfitting and is what ``language_bo`` uses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweeps.processes.batched import matern

FEATURES = 64
"""Length of the projection; the paper's."""

LR, LR_EMBEDDING, DECAY, WEIGHT_DECAY = 0.2, 2e-3, 0.95, 1e-3
"""AdamW's for the process, and for projection and token; the factor of both after each step; the decay of all. The code's."""

LEAST_NOISE = 1e-4
"""Lower end of the noise's variance; the code's."""

SHRUNK = 0.95
"""Features are scaled into ± this, not ± 1: GPyTorch's ``ScaleToBounds``."""


class Projection:
    """h = ELU(Wx + c), then z = 0.95 · (2 (h − min h) / (max h − min h) − 1), one range for all features and observations.

    W [features, inputs] ~ U(±√(6 / (inputs + features))) (Glorot and Bengio 2010), c = 0.01.

    Args:
        inputs: length of x.
        generator: of W.
    """

    def __init__(self, inputs: int, generator: np.random.Generator) -> None:
        bound = math.sqrt(6 / (inputs + FEATURES))
        self.weight = torch.from_numpy(generator.uniform(-bound, bound, (FEATURES, inputs))).requires_grad_(True)
        self.bias = torch.full((FEATURES,), 0.01, dtype=torch.float64, requires_grad=True)

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """h [n, features] of x [n, inputs]."""
        return torch.nn.functional.elu(inputs @ self.weight.T + self.bias)


def rescale(hidden: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """z of h by the range of the observations' h; what lies beyond it is cut.

    >>> observed = torch.tensor([[0.0, 1.0], [1.5, 2.0]], dtype=torch.float64)
    >>> rescale(torch.tensor([[0.0, 3.0]], dtype=torch.float64), observed).tolist()
    [[-0.95, 0.95]]
    """
    low, high = observed.min(), observed.max()
    return SHRUNK * (2 * (hidden.clamp(low, high) - low) / (high - low) - 1)


@dataclass
class Process:
    """y ~ N(μ, s·k + σ²I), k a Matérn-5/2 kernel with one length scale ℓ for all features.

    Each of s, ℓ and σ² is softplus of a free number that starts at 0, so 0.69; σ² at least `LEAST_NOISE`. The code's config
    asks for starts of 1, which do not reach its model: they are looked up by names that GPyTorch gives to the free numbers.
    """

    outputscale: torch.Tensor
    length: torch.Tensor
    noise: torch.Tensor
    mean: torch.Tensor

    @staticmethod
    def start() -> "Process":
        """Free numbers, and μ, at 0."""
        return Process(*(torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(4)))

    def free(self) -> list[torch.Tensor]:
        """What is fitted."""
        return [self.outputscale, self.length, self.noise, self.mean]

    def covariance(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """s·k of features [n, k] and [m, k], [n, m]."""
        softplus = torch.nn.functional.softplus
        return softplus(self.outputscale) * matern(rows[None], columns[None], softplus(self.length).reshape(1, 1))[0]

    def root(self, features: torch.Tensor) -> torch.Tensor:
        """Cholesky factor of the observations' covariance [n, n].

        Raises:
            torch.linalg.LinAlgError: it is not positive definite.
        """
        noise = torch.nn.functional.softplus(self.noise) + LEAST_NOISE
        return torch.linalg.cholesky(
            self.covariance(features, features) + noise * torch.eye(len(features), dtype=torch.float64)
        )

    def loss(self, features: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """−log p(scores [n] | features [n, k]) / n."""
        root = self.root(features)
        solved = torch.linalg.solve_triangular(root, (scores - self.mean)[:, None], upper=False)
        return 0.5 * (solved.square().sum() / len(scores) + math.log(2 * math.pi)) + root.diagonal().log().sum() / len(scores)

    def predict(
        self, features: torch.Tensor, scores: torch.Tensor, candidates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance [m] of the noiseless score at candidates [m, k]."""
        root = self.root(features)
        solved = torch.linalg.solve_triangular(
            root, torch.cat([(scores - self.mean)[:, None], self.covariance(features, candidates)], dim=1), upper=False
        )
        residual, cross = solved[:, 0], solved[:, 1:]
        prior = torch.nn.functional.softplus(self.outputscale)
        return self.mean + cross.T @ residual, (prior - cross.square().sum(0)).clamp(min=1e-18)


def fit(
    inputs: Callable[[], torch.Tensor], scores: torch.Tensor, projection: Projection, token: torch.Tensor | None = None
) -> Process:
    """Fit process, projection and token together to the marginal likelihood.

    AdamW's rates fall by `DECAY` a step; it ends where BoTorch's criterion does (a moving average of ten losses that falls by
    less than 1e-5 of itself).

    Args:
        inputs: called for the observations' x [n, inputs] from the present token.
        scores: standardised [n].
        projection: it is changed.
        token: a leaf that x depends on; it is changed.

    Raises:
        torch.linalg.LinAlgError: a covariance that is not positive definite.
    """
    from botorch.optim.stopping import ExpMAStoppingCriterion  # of an extra: `Search.check` says how to install it

    process = Process.start()
    learned = [projection.weight, projection.bias, *([] if token is None else [token])]
    groups = [{"params": learned, "lr": LR_EMBEDDING}, {"params": process.free(), "lr": LR}]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    schedule, stop = torch.optim.lr_scheduler.StepLR(optimizer, 1, DECAY), ExpMAStoppingCriterion()
    while True:
        optimizer.zero_grad()
        hidden = projection.hidden(inputs())
        loss = process.loss(rescale(hidden, hidden), scores)
        loss.backward()  # type: ignore[no-untyped-call]
        if stop(loss.detach()):
            return process
        optimizer.step()
        schedule.step()
