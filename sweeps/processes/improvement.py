"""Expected improvement of a Gaussian process over the best score so far."""

from typing import Any

import torch

CHUNK = 4096
"""Candidates whose acquisition is computed at once."""


def improvement(mean: torch.Tensor, variance: torch.Tensor, incumbent: float) -> torch.Tensor:
    """Expected improvement over the incumbent f* [m]: σ (u Φ(u) + φ(u)) with u = (μ − f*) / σ (Jones et al. 1998).

    >>> mean, variance = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> improvement(mean, variance, incumbent=0.0).round(decimals=3).tolist()
    [0.399, 1.083]

    Args:
        mean: μ of the noiseless f [m].
        variance: σ² [m].
        incumbent: f*.
    """
    deviation = variance.sqrt()
    u = (mean - incumbent) / deviation
    return deviation * (u * torch.special.ndtr(u) + torch.exp(-0.5 * u * u) / (2 * torch.pi) ** 0.5)


def log_improvement(model: Any, points: torch.Tensor, incumbent: float) -> torch.Tensor:
    """Log expected improvement over the incumbent f* at each of the points, by BoTorch.

    EI(x) = E max(f(x) − f*, 0) = σ (u Φ(u) + φ(u)), u = (μ(x) − f*) / σ(x), of the noiseless f (Jones et al. 1998); its
    logarithm has gradients and an order where EI underflows (Ament et al. 2023, arXiv 2310.20708).

    >>> from botorch.models import SingleTaskGP
    >>> points = torch.tensor([[0.0], [0.3], [1.0]], dtype=torch.float64)
    >>> model = SingleTaskGP(points, torch.tensor([[-1.0], [1.0], [0.0]], dtype=torch.float64), outcome_transform=None).eval()
    >>> candidates = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    >>> log_improvement(model, candidates, incumbent=1.0).argmax().item()  # between the best observation and the unknown
    5

    Args:
        model: of BoTorch, one output.
        points: [m, d], each judged alone (``m x 1 x d`` in BoTorch's ``b x q x d``).
        incumbent: f*.

    Returns:
        [m].
    """
    from botorch.acquisition import LogExpectedImprovement  # of an extra: `Search.check` says how to install it

    acquisition = LogExpectedImprovement(model, best_f=incumbent)
    with torch.no_grad():
        return torch.cat([acquisition(chunk[:, None]) for chunk in points.split(CHUNK)])
