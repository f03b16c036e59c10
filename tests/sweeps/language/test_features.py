"""What embeddings tell of the axes, on embeddings made for it."""

import numpy as np
import pytest

from sweeps.language import features
from sweeps.space import Space


def test_random_vectors_tell_the_numbers_as_well_but_no_value_that_was_left_out():
    lr = ["1e-6", "3e-6", "1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3"]
    space = Space({"lr": lr, "word": ["a", "b", "c", "d", "e"]})
    random = features.without_language(space.columns)
    phi = features.readout(random, space.columns)(random)
    assert np.corrcoef(phi[:, 0], space.encoded[:, 0])[0, 1] > 0.999
    assert features.left_out_fit(random, space.columns)["lr"] < 0.2
    ordered = random + 30 * np.outer(space.encoded[:, 0], np.random.default_rng(1).standard_normal(random.shape[1]))
    scores = features.left_out_fit(ordered, space.columns)
    assert scores["lr"] > 0.9 and "word" not in scores


@pytest.fixture
def readable():
    """A space, and embeddings with a direction for each of three axes, digits that say nothing, and no trace of the fourth."""
    space = Space({"lr": ["1e-4", "1e-3", "1e-2"], "word": ["a", "b", "c", "d"], "depth": ["1", "2", "3"], "lost": ["1", "50"]})
    lr, word, depth, _ = np.indices([3, 4, 3, 2]).reshape(4, -1)
    generator = np.random.default_rng(0)
    words = generator.normal(size=(4, 24))
    columns = np.outer(lr, generator.normal(size=24)) + words[word] + np.outer(depth, generator.normal(size=24))
    digits = 5 * np.outer(lr % 2, generator.normal(size=24))
    return space, columns + digits + 3


def test_axes_are_read_from_the_embeddings(readable):
    space, embeddings = readable
    read = features.readout(embeddings, space.columns)
    assert read.axes == ("lr", "word", "word", "word", "depth", "lost")
    phi = read(embeddings)
    assert phi.shape == (len(space), 6 + features.REST)
    assert np.abs(phi[:, :5]).max() < 1.2 and np.ptp(phi[:, [0, 1, 4]], axis=0) == pytest.approx(2, abs=0.05)
    encoded = space.encoded
    assert np.corrcoef(phi[:, 0], encoded[:, 0])[0, 1] > 0.97 and np.corrcoef(phi[:, 4], encoded[:, 5])[0, 1] > 0.97
    again = features.readout(embeddings, space.columns)
    np.testing.assert_array_equal(read.matrix, again.matrix)


def test_what_the_features_leave_is_uncorrelated_with_them_where_their_targets_are_collinear():
    """As with relations: the logarithms of lr, rank and their product lie in a plane, and so do the directions that tell them."""
    space = Space({"lr": ["1e-4", "1e-3", "1e-2"], "rank": ["1", "8", "64"], "word": ["a", "b"]})
    columns = space.columns | {"step": space.columns["lr"] * space.columns["rank"] ** 2}
    generator = np.random.default_rng(0)
    embeddings = np.log(np.stack([columns["lr"], columns["rank"]], axis=1)) @ generator.normal(size=(2, 24))
    embeddings += generator.normal(size=(len(space), 24))
    read = features.readout(embeddings, columns)
    k = len(read.axes)
    phi = read(embeddings)
    assert read.axes[-1] == "step" and np.linalg.matrix_rank(read.matrix[:k], tol=1e-6) == k - 1
    told_features = phi[:, :k] - phi[:, :k].mean(0)
    assert np.ptp(phi[:, k]) == pytest.approx(2)
    assert np.abs(told_features.T @ phi[:, k:]).max() < 1e-6 * np.linalg.norm(told_features) * np.linalg.norm(phi[:, k:])


def test_the_readout_does_not_hang_on_scale_or_direction_of_the_embeddings(readable):
    space, embeddings = readable
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    read = features.readout(embeddings, space.columns)
    read_turned = features.readout(7 * embeddings @ turn - 2, space.columns)
    k = len(read.axes)
    turned = read_turned(7 * embeddings @ turn - 2)[:, :k]
    np.testing.assert_allclose(np.abs(turned), np.abs(read(embeddings)[:, :k]), atol=1e-6)


def test_distances_are_kept_without_a_readout(readable):
    _, embeddings = readable
    embeddings = embeddings[::2]  # the last axis leaves no trace, so that there are pairs without a distance
    x = features.whole(embeddings)(embeddings)
    assert np.square(x).sum(1).mean() == pytest.approx(1) and np.abs(x.mean(0)).max() < 1e-12
    ratio = np.linalg.norm(x[1:] - x[0], axis=1) / np.linalg.norm(embeddings[1:] - embeddings[0], axis=1)
    assert ratio == pytest.approx(ratio[0])


def test_levelled_features_are_equal_where_values_are():
    space = Space({"lr": ["1e-4", "1e-3", "1e-2"], "variant": ["lora", "pissa"]})
    phi = np.random.default_rng(0).standard_normal((6, 3))
    levelled = features.level(phi, ("lr", "variant"), space.columns)
    for level in range(3):
        np.testing.assert_allclose(levelled[2 * level : 2 * level + 2, 0], phi[2 * level : 2 * level + 2, 0].mean())
    np.testing.assert_allclose(levelled[::2, 1], phi[::2, 1].mean())
    np.testing.assert_array_equal(levelled[:, 2], phi[:, 2])
