"""Bayesian optimisation with a Gaussian process on the numbers themselves (BoTorch)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from sweeps.processes.improvement import log_improvement
from sweeps.search.base import Observation, Search, filled_scores, untried, warp


class GP(Search):
    """A Matérn-5/2 process on ``Space.encoded``, fitted by maximum a posteriori; the candidate of largest log EI.

    Length scales have the dimension-scaled log-normal prior of Hvarfner et al. 2024 (arXiv 2402.02229), BoTorch's default;
    log EI as in ``sweeps.processes.improvement``. Scores are warped (``warp``).
    """

    version: ClassVar[int] = 1

    needs = ("botorch",)

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        if not history:
            return int(self.generator(history).integers(len(self.space)))
        points = torch.from_numpy(self.space.encoded)
        tried = [observation.candidate for observation in history]
        scores = torch.from_numpy(warp(filled_scores(history)))
        model = fit_gp(points[tried], scores, int(self.generator(history).integers(2**31)))
        free = np.flatnonzero(untried(self.space, history))
        return int(free[int(log_improvement(model, points[free], float(scores.max())).argmax())])


def fit_gp(points: torch.Tensor, scores: torch.Tensor, seed: int = 0) -> Any:
    """BoTorch's ``SingleTaskGP`` of points [n, d] and standardised scores [n], hyperparameters at their posterior mode.

    A fit that fails begins again from a draw of the priors; the seed decides it and leaves torch's own generator as it was. If
    that fails, too, the hyperparameters are the priors' modes.
    """
    from botorch.exceptions import ModelFittingError  # of an extra: `Search.check` says how to install it
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from gpytorch.mlls import ExactMarginalLogLikelihood

    def prior_model() -> Any:
        kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=points.shape[1], use_rbf_kernel=False)
        return SingleTaskGP(points, scores[:, None], covar_module=kernel, outcome_transform=None)

    model = prior_model()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        except ModelFittingError:
            model = prior_model().eval()
    return model
