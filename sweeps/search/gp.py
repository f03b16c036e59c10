"""Bayesian optimisation with a Gaussian process on the numbers themselves (BoTorch)."""

from collections.abc import Sequence
from typing import Any

from sweeps.search.base import Observation, Search, filled, untried, warped

CHUNK = 4096
"""Candidates whose acquisition is computed at once."""


class GP(Search):
    """A Matérn-5/2 process on ``Space.encoded``, fitted by maximum a posteriori; the candidate of largest log EI.

    Length scales have the dimension-scaled log-normal prior of Hvarfner et al. 2024 (arXiv 2402.02229), BoTorch's default;
    LogEI: Ament et al. 2023 (arXiv 2310.20708). Scores are ``warped``.
    """

    needs = ("botorch",)

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        import numpy as np
        import torch

        if not history:
            return int(self.generator(history).integers(len(self.space)))
        points = torch.from_numpy(self.space.encoded)
        tried = [one.candidate for one in history]
        scores = torch.from_numpy(warped(filled(history)))
        model = fitted(points[tried], scores, int(self.generator(history).integers(2**31)))
        free = np.flatnonzero(untried(self.space, history))
        return int(free[best(model, points[free], float(scores.max()))])


def fitted(points: Any, scores: Any, seed: int = 0) -> Any:
    """BoTorch's ``SingleTaskGP`` of points [n, d] and standardised scores [n], hyperparameters at their posterior mode.

    A fit that fails begins again from a draw of the priors; the seed decides it and leaves torch's own generator as it was. If
    that fails, too, the hyperparameters are the priors' modes.
    """
    import torch
    from botorch.exceptions import ModelFittingError
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from gpytorch.mlls import ExactMarginalLogLikelihood

    def unfitted() -> Any:
        kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=points.shape[1], use_rbf_kernel=False)
        return SingleTaskGP(points, scores[:, None], covar_module=kernel, outcome_transform=None)

    model = unfitted()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        except ModelFittingError:
            model = unfitted().eval()
    return model


def log_improvement(model: Any, points: Any, incumbent: float) -> Any:
    """Log expected improvement over the incumbent at each of the points [m, d], [m]."""
    import torch
    from botorch.acquisition import LogExpectedImprovement

    acquisition = LogExpectedImprovement(model, best_f=incumbent)
    with torch.no_grad():
        return torch.cat([acquisition(chunk[:, None]) for chunk in points.split(CHUNK)])


def best(model: Any, points: Any, incumbent: float) -> int:
    """The first of the points where the log expected improvement is largest."""
    return int(log_improvement(model, points, incumbent).argmax())
