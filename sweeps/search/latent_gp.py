"""Latent-space Bayesian optimisation without language: a deep kernel on the numbers.

Paper 2 (arXiv 2602.11171) compares with an "LBO" that it does not define. Here it is ``language_bo`` with ``Space.encoded`` in
the place of the text's features: the same projection, process, fit and acquisition, but one model and not the average of three,
a derived key such as alpha told by its factor, and no relations.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from sweeps.processes import deep
from sweeps.search.base import Observation, Search, filled_scores, untried, warp


class LatentGP(Search):
    """A process on learned features of the numbers; the candidate of largest log EI."""

    version: ClassVar[int] = 1

    needs = ("botorch",)

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        if not history:
            return int(self.generator(history).integers(len(self.space)))
        points = 2 * torch.from_numpy(self.space.encoded) - 1
        scores = torch.from_numpy(warp(filled_scores(history)))
        tried = points[[observation.candidate for observation in history]]
        member = deep.attempt(lambda: deep.projected_member("latent_gp", tried, scores, points.shape[1]))
        free = np.flatnonzero(untried(self.space, history))
        if member is None:  # the fit broke down
            return int(self.generator(history).choice(free))
        return int(free[int(deep.log_improvement(member, points[free], float(scores.max())).argmax())])
