"""Deep-kernel Gaussian processes for few observations: learned features under a Matérn kernel, by marginal likelihood."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sweeps.processes import batched, improvement

SPREAD = 0.05
"""Prior deviation of each entry of W and b from where it starts, features being in [−1, 1]; whatever the number of scores. With
0.3 a ridge across features is learned from 30 scores, but searches of 30 evaluations end worse (results/search.md)."""

LR = 0.05
"""Adam's, in units of the prior's deviation."""

EXTENT = 2.0
"""Range of a feature."""


class Projection:
    """z = ELU(Wφ + b) − 1, a batch of them; standard normal parameters V with W = [I 0] + `SPREAD`·V, and so b = 1 + ….

    φ lies in [−1, 1]: at the start ELU is in its linear part, z = φ, and the kernel sees the distances of φ. W turns and mixes
    the features, so that a kernel with a length scale for each follows ridges along which several hyperparameters trade off;
    what lies beyond the first ``features`` rows of φ comes in from 0. Where φ is a linear function of an embedding
    (``sweeps.language.features.Readout``), so is Wφ.

    >>> projection = Projection(batch=2, inputs=3, features=2)
    >>> phi = torch.tensor([[0.5, -0.5, 1.0]], dtype=torch.float64)
    >>> projection(phi.expand(2, -1, -1)).tolist()
    [[[0.5, -0.5]], [[0.5, -0.5]]]

    Args:
        batch: how many.
        inputs: length of φ.
        features: length of z, the first of φ.
    """

    def __init__(self, batch: int, inputs: int, features: int) -> None:
        self.start = torch.eye(features, inputs, dtype=torch.float64)
        self.change = torch.zeros(batch, features, inputs + 1, dtype=torch.float64, requires_grad=True)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Features [b, n, k] of φ [b, n, inputs]."""
        weight, bias = self.start + SPREAD * self.change[..., :-1], 1 + SPREAD * self.change[..., -1]
        return torch.nn.functional.elu(inputs @ weight.mT + bias[:, None]) - 1

    def penalty(self) -> torch.Tensor:
        """−log prior [b], up to a constant."""
        return 0.5 * self.change.square().sum((1, 2))


@dataclass(frozen=True)
class Member:
    """One way to model the scores.

    Attributes:
        name: of it.
        fit: to all observations, a batch of one.
        density: log density of each observation under the refit that did not know its fold [n].
        features: those of its process [m, k] from what it is given of the candidates [m, inputs].
        shift: change of a token that was fitted with it [t], in the coordinates of ``slopes`` (``projected_member``).
    """

    name: str
    fit: batched.Fit
    density: torch.Tensor
    features: Callable[[torch.Tensor], torch.Tensor] = lambda inputs: inputs
    shift: torch.Tensor | None = None


def fixed_member(name: str, inputs: torch.Tensor, scores: torch.Tensor, extent: float = EXTENT, shared: bool = False) -> Member:
    """A process on inputs [n, k] as they are."""
    kept = batched.splits(len(scores))
    features, targets = inputs.expand(len(kept), -1, -1), scores.expand(len(kept), -1)
    fits = batched.fit(lambda: features, targets, kept, extent, shared)
    return Member(name, fits.last(), fits.left_out().sum(0))


def projected_member(
    name: str, inputs: torch.Tensor, scores: torch.Tensor, features: int, slopes: torch.Tensor | None = None
) -> Member:
    """A process under a ``Projection``, refitted with it in each fold.

    Args:
        name: of the member.
        inputs: φ of the observations [n, inputs].
        scores: standardised [n].
        features: how many the process sees.
        slopes: change of φ by a token [n, inputs, t], in units of the prior deviation of each of its t directions.
    """
    kept = batched.splits(len(scores))
    projection = Projection(len(kept), inputs.shape[1], features)
    token = inputs.new_zeros(len(kept), 0 if slopes is None else slopes.shape[2]).requires_grad_(True)

    def observed() -> torch.Tensor:
        moved = inputs if slopes is None else inputs + torch.einsum("nit,bt->bni", slopes, token)
        return projection(moved.expand(len(kept), -1, -1))

    def penalty() -> torch.Tensor:
        return projection.penalty() + 0.5 * token.square().sum(1)

    trained = [projection.change] if slopes is None else [projection.change, token]
    fits = batched.fit(observed, scores.expand(len(kept), -1), kept, EXTENT, trained=trained, penalty=penalty, lr=LR)
    projection.change = projection.change.detach()[-1:]
    shift = None if slopes is None else token.detach()[-1]
    return Member(name, fits.last(), fits.left_out().sum(0), lambda phi: projection(phi[None])[0], shift)


def weights(members: Sequence[Member]) -> torch.Tensor:
    """Each member's share [members], proportional to exp Σᵢ log pᵢ of its left-out densities (pseudo-Bayesian model averaging).

    Geisser & Eddy 1979; Yao et al. 2018, arXiv 1704.02030, section 3.4. A member whose density is not finite gets none.
    """
    totals = torch.stack([member.density.sum() for member in members])
    totals = torch.where(totals.isfinite(), totals, -torch.inf)
    return torch.softmax(totals, 0) if totals.isfinite().any() else torch.full_like(totals, 1 / len(totals))


def attempt(build: Callable[[], Member]) -> Member | None:
    """The member, or None where its fit broke down: a covariance that is not positive definite, or no finite prediction."""
    try:
        member = build()
    except torch.linalg.LinAlgError:
        return None
    return member if member.density.isfinite().all() and member.fit.weights.isfinite().all() else None


def move_inputs(member: Member, inputs: torch.Tensor) -> Member:
    """The member with other inputs of the same observations [n, inputs], its hyperparameters as they were."""
    fit = member.fit
    return replace(member, fit=batched.condition(member.features(inputs)[None], fit.scores, fit.kept, fit.length, fit.noise))


def log_average_improvement(
    members: Sequence[Member], shares: torch.Tensor, inputs: Sequence[torch.Tensor], incumbent: float
) -> torch.Tensor:
    """Log of the expected improvement under the mixture of the members, log Σⱼ shareⱼ · EIⱼ(x), [m].

    Args:
        members: the models.
        shares: their weights, adding up to 1.
        inputs: what each is given of the candidates [m, inputs].
        incumbent: what is to be improved.
    """
    parts = [
        log_improvement(member, candidates, incumbent) + share.log()
        for member, share, candidates in zip(members, shares, inputs, strict=True)
        if share > 0
    ]
    return torch.logsumexp(torch.stack(parts), 0)


def log_improvement(member: Member, inputs: torch.Tensor, incumbent: float) -> torch.Tensor:
    """Log expected improvement over the incumbent at candidates [m, inputs], [m]."""
    with torch.no_grad():
        return improvement.log_improvement(_botorch(member.fit), member.features(inputs), incumbent)


def _botorch(fit: batched.Fit) -> Any:
    """The fitted process, the only one of its batch, as BoTorch's model."""
    from botorch.models import SingleTaskGP  # of an extra, as in `improvement`
    from gpytorch.kernels import MaternKernel

    features = fit.features[0]
    kernel = MaternKernel(nu=2.5, ard_num_dims=features.shape[1])
    model = SingleTaskGP(features, fit.scores[0][:, None], covar_module=kernel, outcome_transform=None)
    kernel.lengthscale = fit.length[0]
    model.likelihood.noise = fit.noise
    model.mean_module.constant = fit.mean[0]
    return model.eval()
