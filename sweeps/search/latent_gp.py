"""Latent-space Bayesian optimisation without language: a deep kernel on the numbers.

Paper 2 (arXiv 2602.11171) compares with an "LBO" that it does not define. Here it is ``language_bo`` with ``Space.encoded`` in
the place of the text's embedding: the same projection, process, fit and acquisition. What language_bo gains over it, language
gives.
"""

from collections.abc import Sequence

from sweeps.search.base import Observation, Search, filled, untried, warped

STEPS = 150


class LatentGP(Search):
    """A process on learned features of the numbers; the candidate of largest log EI."""

    needs = ("botorch",)

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        import numpy as np
        import torch

        from sweeps.search import deep, gp

        if not history:
            return int(self.generator(history).integers(len(self.space)))
        standard = deep.Standard(torch.from_numpy(self.space.encoded))
        points, projection = standard.table, deep.Projection(standard.axes)
        observed = points[[one.candidate for one in history]]
        scores = torch.from_numpy(warped(filled(history)))
        model = deep.process(projection(observed, observed=True), scores)
        deep.train(model, lambda: projection(observed, observed=True), projection, None, STEPS)
        free = np.flatnonzero(untried(self.space, history))
        with torch.no_grad():
            features = projection(points[free])
        return int(free[gp.best(model, features, float(scores.max()))])
