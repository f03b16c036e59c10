"""What embeddings of texts tell of the axes: linear directions, found from the candidates' texts alone, without any score.

For an axis of numbers the directions are fitted to the numbers, so that any embedding in which equal values are equal and
different ones are not will do, even one of random vectors (``without_language``). What is the language model's is what lies
between: the place of words, the directions beyond the axes', and how well a value left out is placed (``left_out_fit``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.numbers import EXACT
from sweeps.space import Axis

Columns = Mapping[str, np.ndarray]
"""For each line's key its value of each candidate [candidates], numbers or words (``Prompts.columns``)."""

RIDGE = 1e-8
"""Of the readout, as a share of the embeddings' whole variance: as little as float32 embeddings bear. With 1e-4 the features of
lr and batch size tell but 80 % of their variance, and what they do not tell is noise in the kernel's distances."""

WORDS = 3
"""Directions at most of an axis of words: a process can tell few from 30 scores. Not tuned."""

REST = 8
"""Principal directions of what the axes' directions leave, for the projection to mix in. Not tuned."""


@dataclass(frozen=True)
class Readout:
    """Features φ = P(x − c) of embeddings x, each about in [−1, 1] over all candidates, less where its target is not told.

    Attributes:
        matrix: P [features + rest, width]; the rest are principal axes of what the features do not explain.
        center: c [width].
        axes: the key that each feature tells of.
    """

    matrix: np.ndarray
    center: np.ndarray
    axes: tuple[str, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """φ [n, features + rest] of x [n, width]."""
        return (x - self.center) @ self.matrix.T


def readout(embeddings: np.ndarray, columns: Columns) -> Readout:
    """The directions in which the embeddings of all candidates tell the values of each axis.

    The principal axes of embeddings of numbers are those of their digits: 2e-5 lies near 2e-3 and far from 3e-5. So an axis of
    numbers gets the direction w in which its value t (its logarithm where it spans orders of magnitude) is read best,
    w = (XᵀX + λI)⁻¹Xᵀt with X centred and λ = `RIDGE` · tr XᵀX. An axis of words gets the directions in which the scores t of
    the first principal components of its levels' mean embeddings are read, in proportion to their spread, so that words that
    the model takes for similar stay close.

    Args:
        embeddings: of all candidates [candidates, width].
        columns: what their lines tell, relations too.
    """
    center = embeddings.mean(0, dtype=np.float64)
    x = embeddings - center
    gram = x.T @ x
    values, vectors = np.linalg.eigh(gram)
    values = values.clip(min=0)
    inverse = (vectors / (values + RIDGE * values.sum() + 1e-12)) @ vectors.T
    rows, axes = [], []
    for key, targets in _targets(x, columns):
        directions = inverse @ (x.T @ targets)  # [width, targets of this axis]
        rows.append(2 * directions.T / max(float(np.ptp(targets, axis=0).max()), 1e-12))
        axes += [key] * targets.shape[1]
    matrix = np.concatenate(rows) if rows else np.zeros((0, x.shape[1]))
    return Readout(np.concatenate([matrix, _rest(x, gram, matrix)]), center, tuple(axes))


def level(phi: np.ndarray, axes: Sequence[str], columns: Columns) -> np.ndarray:
    """Features in which equal values are equal: each the mean over all candidates with that value of its key [candidates, …].

    A language model's state also depends on how the values go together. What that adds to a feature of one axis is small beside
    its range, but not beside the distance of neighbouring values, and a kernel's length scales follow it. The rest stays. With
    another token than its start, to which the same differences are added, equal values are equal but nearly.

    >>> level(np.array([[0.0], [0.2], [1.0]]), ["lr"], {"lr": np.array([1e-4, 1e-4, 1e-3])}).ravel().tolist()
    [0.1, 0.1, 1.0]

    Args:
        phi: φ of all candidates [candidates, features + rest].
        axes: the keys of the features (``Readout.axes``).
        columns: see ``readout``.
    """
    features = phi.copy()
    for i, key in enumerate(axes):
        _, at = np.unique(columns[key], return_inverse=True)
        features[:, i] = (np.bincount(at, phi[:, i]) / np.bincount(at))[at]
    return features


def whole(embeddings: np.ndarray) -> Readout:
    """The embedding itself, centred, its variances adding up to 1."""
    center = embeddings.mean(0, dtype=np.float64)
    scale = np.sqrt(np.square(embeddings - center).sum(1).mean()).clip(min=1e-12)
    return Readout(np.eye(embeddings.shape[1]) / scale, center, ())


def without_language(columns: Columns, width: int = 576) -> np.ndarray:
    """Embeddings that know nothing of language [candidates, width]: the sum of a random vector for each value of each line.

    With them in the place of a language model's, the rest of the method being the same, one sees what language adds.
    """
    generator = np.random.default_rng(0)
    sums = np.zeros((len(next(iter(columns.values()))), width), dtype=np.float32)
    for values in columns.values():
        levels, at = np.unique(values, return_inverse=True)
        sums += generator.standard_normal((len(levels), width), dtype=np.float32)[at]
    return sums


def left_out_fit(embeddings: np.ndarray, columns: Columns) -> dict[str, float]:
    """How well each axis of at least four numbers is told for a value that the direction was not fitted to, R² over values.

    The mean embeddings of the other values are fitted as in ``readout``; 1: placed rightly, 0: as the mean of the others.
    """
    scores = {}
    for key, values in columns.items():
        levels, at = np.unique(values, return_inverse=True)
        if len(levels) < 4 or levels.dtype.kind != "f":
            continue
        means = np.stack([embeddings[at == level].mean(0, dtype=np.float64) for level in range(len(levels))])
        t = _scale(levels)
        errors = []
        for level in range(len(levels)):
            others = np.arange(len(levels)) != level
            x, y = means[others] - means[others].mean(0), t[others] - t[others].mean()
            kernel = x @ x.T
            weights = np.linalg.solve(kernel + RIDGE * np.trace(kernel) * np.eye(len(y)), y)
            guess = t[others].mean() + (means[level] - means[others].mean(0)) @ x.T @ weights
            errors.append((guess - t[level], t[others].mean() - t[level]))
        of_fit, of_mean = np.square(errors).sum(0)
        scores[key] = float(1 - of_fit / of_mean)
    return scores


def _targets(x: np.ndarray, columns: Columns) -> list[tuple[str, np.ndarray]]:
    """For each key with a choice what its features should tell [candidates, targets], centred."""
    targets = []
    for key, values in columns.items():
        levels, at = np.unique(values, return_inverse=True)
        if len(levels) > 1:
            target = _scale(values)[:, None] if values.dtype.kind == "f" else _levels(x, at)
            targets.append((key, target - target.mean(0)))
    return targets


def _scale(numbers: np.ndarray) -> np.ndarray:
    """Their logarithm where they span orders of magnitude."""
    axis = Axis("", tuple(f"{value:{EXACT}}" for value in np.unique(numbers)))
    return np.log(numbers) if axis.logarithmic else numbers


def _levels(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Scores of the first principal components of the mean embedding of each level, by candidate [candidates, components]."""
    means = np.stack([x[at == level].mean(0) for level in range(at.max() + 1)])
    left, values, right = np.linalg.svd(means - means.mean(0), full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    count = min(WORDS, len(means) - 1)
    return (left * values * signs)[:, :count][at]


def _rest(x: np.ndarray, gram: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Principal directions of x without what the features explain, the first with range 2, the others in proportion."""
    explained = np.linalg.pinv(matrix @ gram @ matrix.T, rcond=1e-10) @ matrix @ gram  # least squares; relations are collinear
    left = np.eye(x.shape[1]) - matrix.T @ explained  # [width, width], x @ left is what is not explained
    values, vectors = np.linalg.eigh(left.T @ gram @ left)
    first = vectors[:, ::-1][:, :REST].T
    first *= np.sign(first[np.arange(len(first)), np.abs(first).argmax(1)])[:, None]
    directions = first @ left.T
    return directions * (2 / float(np.ptp(x @ directions[0])) if values[-1] > 1e-9 * np.trace(gram) else 0)
