"""Processes and projections, against BoTorch, plain refits and data of which the answer is known."""

import math

import numpy as np
import pytest

pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
import torch

from sweeps.processes import batched, deep
from sweeps.search import gp
from sweeps.space import Space


def noise(n, k, seed):
    """Points in [-1, 1]^k and standard normal scores that have nothing to do with them."""
    generator = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(n, k, generator=generator, dtype=torch.float64) - 1
    return points, torch.randn(n, generator=generator, dtype=torch.float64)


def wave(n, k, seed):
    """Points in [0, 1]^k and scores that follow the first axis and the last."""
    points, error = noise(n, k, seed)
    points = (points + 1) / 2
    scores = torch.sin(3 * points[:, 0]) + points[:, -1] + 0.05 * error
    return points, (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize(("n", "k"), [(3, 1), (12, 2), (30, 6)])
def test_a_fit_is_botorchs(n, k):
    """The same posterior at the same hyperparameters, and a posterior density of the hyperparameters that is no lower."""
    from gpytorch.mlls import ExactMarginalLogLikelihood

    points, scores = wave(n, k, n)
    fit = batched.fit(lambda: points[None], scores[None], torch.ones(1, n, dtype=torch.float64))
    reference = gp.fit_gp(points, scores)
    density = ExactMarginalLogLikelihood(reference.likelihood, reference).train()
    reached = density(reference(points), scores).item()
    reference.covar_module.lengthscale, reference.likelihood.noise = fit.length[0], fit.noise
    reference.mean_module.constant = fit.mean[0]
    assert density(reference(points), scores).item() > reached - 0.02
    reference.eval()
    elsewhere = torch.rand(20, k, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, variance = fit.predict(elsewhere[None])
        expected = reference.posterior(elsewhere)
        torch.testing.assert_close(mean[0], expected.mean[:, 0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(variance[0], expected.variance[:, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [4, 13])
def test_the_fits_without_a_fold_are_those_of_the_other_observations_alone(n):
    points, scores = wave(n, 2, 0)
    kept = batched.splits(n)
    assert (kept[-1] == 1).all() and (kept[:-1].sum(0) == len(kept) - 2).all() and len(kept) == min(n, batched.FOLDS) + 1
    together = batched.fit(lambda: points.expand(len(kept), -1, -1), scores.expand(len(kept), -1), kept)
    left_out = together.left_out().sum(0)
    for row, mask in enumerate(kept[:-1]):
        kept_in = mask == 1
        ones = torch.ones(1, int(kept_in.sum()))
        alone = batched.fit(lambda kept_in=kept_in: points[kept_in][None], scores[kept_in][None], ones)
        torch.testing.assert_close(together.length[row], alone.length[0], rtol=1e-4, atol=1e-6)
        mean, variance = alone.predict(points[~kept_in][None])
        expected = torch.distributions.Normal(mean[0], (variance[0] + alone.noise).sqrt()).log_prob(scores[~kept_in])
        torch.testing.assert_close(left_out[~kept_in], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", [6, 14])
def test_on_noise_the_density_promises_no_more_than_holds(inputs):
    """A fitted projection explains noise; its left-out density must not claim so, but be that of labels yet to come."""
    promised, held = [], []
    for seed in range(5):
        points, scores = noise(40, inputs, seed)
        first, rest = (points[:20], scores[:20]), (points[20:], scores[20:])
        fitted = deep.projected_member("language", *first, features=6)
        promised.append(fitted.density.mean().item())
        with torch.no_grad():
            mean, variance = fitted.fit.predict(fitted.features(rest[0])[None])
        error = torch.distributions.Normal(mean[0], (variance[0] + fitted.fit.noise).sqrt())
        held.append(error.log_prob(rest[1]).mean().item())
    assert np.mean(promised) < np.mean(held) + 0.15
    assert np.mean(promised) < -0.5 * math.log(2 * math.pi * math.e) + 0.1  # that of a standard normal, without any skill


def test_a_signal_that_only_the_features_carry_is_used():
    """Words whose features lie in the order of their scores; as numbers they are only different."""
    names = [f"word{i}" for i in range(12)]
    space = Space({"word": names, "size": ["1", "2", "3"]})
    order = np.random.default_rng(0).permutation(12)
    place = order[np.arange(len(space)) // 3] / 5.5 - 1
    phi = torch.from_numpy(np.stack([place, np.tile([-1, 0, 1], 12)], axis=1))
    for seed in range(3):
        tried = np.random.default_rng(seed).permutation(len(space))[:12].tolist()
        scores = torch.sin(2 * phi[tried, 0])
        scores = (scores - scores.mean()) / scores.std()
        members = [
            deep.fixed_member("language", phi[tried], scores),
            deep.projected_member("language", phi[tried], scores, 2),
            deep.fixed_member("gp", torch.from_numpy(space.encoded[tried]), scores, extent=1.0),
        ]
        assert deep.weights(members)[2] < 0.05


def test_a_ridge_between_features_is_learned(monkeypatch):
    """Scores that follow the sum of two of four features: the projection turns them, if its prior lets it."""
    monkeypatch.setattr(deep, "SPREAD", 0.3)
    gains = []
    for seed in range(3):
        points, _ = noise(30, 4, seed)
        scores = torch.sin(4 * (points[:, 0] + points[:, 1]))
        scores = (scores - scores.mean()) / scores.std()
        gains.append(
            (deep.projected_member("", points, scores, 4).density - deep.fixed_member("", points, scores).density).mean().item()
        )
    assert np.mean(gains) > 0.1


def test_the_projection_starts_as_the_features_themselves():
    projection = deep.Projection(2, 5, 3)
    phi = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(4, 5)
    torch.testing.assert_close(projection(phi.expand(2, -1, -1)), phi[:, :3].expand(2, -1, -1))
    assert projection.penalty().tolist() == [0, 0]


def test_a_token_follows_the_slopes():
    """Scores that follow what the token can move, and not the feature as it is."""
    points, _ = noise(30, 1, 0)
    slopes = 0.25 * torch.randn(30, 1, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    scores = torch.sin(2 * (points + slopes[..., 0])[:, 0])
    scores = (scores - scores.mean()) / scores.std()
    member = deep.projected_member("", points, scores, 1, slopes)
    assert member.shift is not None and member.shift.item() == pytest.approx(1, abs=0.4)
    assert member.density.mean() > deep.projected_member("", points, scores, 1).density.mean() + 1


def test_weights_follow_densities_and_leave_out_what_broke():
    fit = deep.fixed_member("", *noise(3, 1, 0)).fit
    members = [deep.Member("", fit, torch.tensor(density)) for density in ([0.0, 0.0], [-1.0, 0.0], [math.nan, 0.0])]
    np.testing.assert_allclose(deep.weights(members), [1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0])
    np.testing.assert_allclose(deep.weights(members[2:]), [1])


def test_a_fit_that_breaks_down_is_no_member():
    points, scores = noise(6, 2, 0)
    assert deep.attempt(lambda: deep.fixed_member("", points, scores)) is not None
    assert deep.attempt(lambda: deep.fixed_member("", points * math.nan, scores)) is None
    assert deep.attempt(lambda: deep.fixed_member("", points, scores * math.nan)) is None
    assert deep.attempt(lambda: deep.projected_member("", points * math.inf, scores, 2)) is None


def test_the_average_is_the_expected_improvement_of_the_mixture():
    """Against numerical integration of max(f − incumbent, 0) over each member's normal."""
    from scipy import integrate, stats

    members = [deep.fixed_member("", *noise(8, 2, seed)) for seed in (0, 1)] + [deep.projected_member("", *noise(8, 2, 2), 2)]
    inputs = [noise(5, 2, 7)[0], noise(5, 2, 8)[0], noise(5, 2, 9)[0]]
    shares, incumbent = torch.tensor([0.2, 0.0, 0.8], dtype=torch.float64), 0.4
    averages = deep.log_average_improvement(members, shares, inputs, incumbent).exp()
    for row in range(5):
        expected = 0.0
        for member, share, candidates in zip(members, shares.tolist(), inputs, strict=True):
            with torch.no_grad():
                mean, variance = member.fit.predict(member.features(candidates[row : row + 1])[None])
            normal = stats.norm(mean.item(), variance.sqrt().item())
            expected += share * integrate.quad(lambda f, n=normal: (f - incumbent) * n.pdf(f), incumbent, 9, epsabs=1e-10)[0]
        assert averages[row].item() == pytest.approx(expected, rel=1e-4)


def test_a_moved_member_is_the_same_process_on_other_inputs():
    points, scores = noise(9, 3, 0)
    member = deep.projected_member("", points, scores, 2)
    same, moved = deep.move_inputs(member, points), deep.move_inputs(member, 0.7 * points)
    torch.testing.assert_close(same.fit.weights, member.fit.weights)
    assert not torch.allclose(moved.fit.weights, member.fit.weights)
    torch.testing.assert_close(moved.fit.features[0], member.features(0.7 * points))
