"""Paper 2's process against GPyTorch's and BoTorch's: kernel, likelihood, scaling, fit and expected improvement."""

import numpy as np
import pytest

pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
import gpytorch
import torch
from botorch.acquisition import ExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.optim.fit import fit_gpytorch_mll_torch

from sweeps.processes import likelihood
from sweeps.processes.improvement import improvement

RANDOM = torch.Generator().manual_seed(0)
OBSERVED = torch.randn(9, 20, generator=RANDOM, dtype=torch.float64)
CANDIDATES = 2 * torch.randn(40, 20, generator=RANDOM, dtype=torch.float64)
SCORES = OBSERVED[:, 0] + 0.3 * OBSERVED[:, 1] ** 2
SCORES = (SCORES - SCORES.mean()) / SCORES.std()


class Reference(SingleTaskGP):
    """A deep-kernel process of their parts: a layer, ``ScaleToBounds``, and GPyTorch's modules as they are made."""

    def __init__(self, projection):
        kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=2.5))
        super().__init__(
            OBSERVED,
            SCORES[:, None],
            likelihood=gpytorch.likelihoods.GaussianLikelihood(),
            covar_module=kernel,
            mean_module=gpytorch.means.ConstantMean(),
            outcome_transform=None,
        )
        self.layer = torch.nn.Linear(*projection.weight.T.shape).double()
        with torch.no_grad():
            self.layer.weight.copy_(projection.weight)
            self.layer.bias.copy_(projection.bias)
        self.scale = gpytorch.utils.grid.ScaleToBounds(-1.0, 1.0)
        self.double()

    def forward(self, x):
        z = self.scale(torch.nn.functional.elu(self.layer(x)))
        return gpytorch.distributions.MultivariateNormal(self.mean_module(z), self.covar_module(z))


def test_fit_and_improvement_are_those_of_gpytorch_and_botorch():
    projection = likelihood.Projection(OBSERVED.shape[1], np.random.default_rng(3))
    reference = Reference(projection)
    process = likelihood.fit(lambda: OBSERVED, SCORES, projection)

    mll = gpytorch.ExactMarginalLogLikelihood(reference.likelihood, reference).train()
    rest = [*reference.covar_module.parameters(), *reference.mean_module.parameters(), *reference.likelihood.parameters()]
    assert all(parameter.item() == 0 for parameter in rest)  # where the free numbers start
    optimizer = torch.optim.AdamW(
        [{"params": reference.layer.parameters(), "lr": 2e-3}, {"params": rest}], lr=0.2, weight_decay=1e-3
    )

    def closure():
        optimizer.zero_grad()
        loss = -mll(reference(OBSERVED), reference.train_targets)
        loss.backward()
        return loss, [parameter.grad for parameter in reference.parameters()]

    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.95)
    fit_gpytorch_mll_torch(mll, closure=closure, optimizer=optimizer, scheduler=schedule)
    reference.eval()

    softplus = torch.nn.functional.softplus
    for ours, theirs in (
        (softplus(process.outputscale), reference.covar_module.outputscale),
        (softplus(process.length), reference.covar_module.base_kernel.lengthscale),
        (softplus(process.noise) + likelihood.LEAST_NOISE, reference.likelihood.noise),
        (process.mean, reference.mean_module.constant),
        (projection.weight, reference.layer.weight),
    ):
        torch.testing.assert_close(ours, theirs.reshape(ours.shape), rtol=1e-6, atol=1e-8)

    with torch.no_grad():
        hidden = projection.hidden(OBSERVED)
        parts = (likelihood.rescale(part, hidden) for part in (hidden, projection.hidden(CANDIDATES)))
        features, candidates = parts
        mean, variance = process.predict(features, SCORES, candidates)
        posterior = reference.posterior(CANDIDATES[:, None])
        expected = ExpectedImprovement(reference, best_f=SCORES.max())(CANDIDATES[:, None])
    torch.testing.assert_close(mean, posterior.mean.flatten(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(variance, posterior.variance.flatten(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(improvement(mean, variance, float(SCORES.max())), expected, rtol=1e-5, atol=1e-8)


def test_the_loss_is_the_density_by_scipy():
    from scipy.stats import multivariate_normal

    process = likelihood.Process(*(torch.tensor(value, dtype=torch.float64) for value in (0.3, -0.5, -1.0, 0.2)))
    features = OBSERVED[:, :3]
    covariance = process.covariance(features, features) + (np.log1p(np.exp(-1.0)) + 1e-4) * torch.eye(9, dtype=torch.float64)
    density = multivariate_normal.logpdf(SCORES.numpy(), np.full(9, 0.2), covariance.numpy())
    assert float(process.loss(features, SCORES)) == pytest.approx(-density / 9, rel=1e-12)


def test_starts_that_a_config_asks_for_by_free_names_do_not_reach_the_model():
    """Why the starts are softplus(0): the code looks its config's starts up among the names of the parameters."""
    names = {name for name, _ in Reference(likelihood.Projection(20, np.random.default_rng(0))).named_parameters()}
    configured = {"likelihood.noise_covar.noise", "covar_module.base_kernel.lengthscale", "covar_module.outputscale"}
    assert not configured & names and "covar_module.raw_outputscale" in names
