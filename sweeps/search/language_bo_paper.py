"""Language-guided Bayesian optimisation as paper 2 writes it (arXiv 2602.11171), to be compared with ``language_bo``."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from sweeps.language.encoder import Encoder
from sweeps.language.prompts import Prompts, Text
from sweeps.language.sources import Source
from sweeps.processes import likelihood
from sweeps.processes.improvement import improvement
from sweeps.search.base import Observation, Search, filled_scores, untried
from sweeps.space import Space


class LanguageBOPaper(Search):
    """One deep-kernel process on embeddings of the candidates' texts; the candidate of largest expected improvement.

    A candidate is a text: explanations, then its values, then a learnable input vector, the token; x is a frozen decoder's last
    state there. Token, projection (64 features) and a Matérn-5/2 process are fitted together to the marginal likelihood, at
    every question from the same start but for the projection's draw (``sweeps.processes.likelihood``); then all candidates are
    read with the fitted token. Scores are standardised, and a search starts from one random candidate. docs/language_bo.md has
    what of this is the paper's text, what its code, and what ``language_bo`` does otherwise.

    Every question reads the texts of all candidates anew: minutes on a CPU for a thousand of them with SmolLM2-135M.

    Args:
        space: the candidates.
        seed: of the first question without any history, and of the projections' starts.
        encoder: a decoder and its tokenizer.
        text: a name of ``sweeps/language/texts`` or a file.
        domain: False: no explanations.
        token: False: x is the state at the end of the text (the code's mode ``frozen``).
    """

    version: ClassVar[int] = 1

    needs = ("botorch",)

    def __init__(
        self, space: Space, seed: int, encoder: Source, text: str = "lora_paper", domain: bool = True, token: bool = True
    ) -> None:
        super().__init__(space, seed)
        self.token, self._source = token, encoder
        self._prompts = Prompts(space, Text.read(text), domain, relations=False)

    def fingerprint(self) -> dict[str, Any]:
        """Texts and the encoder's weights by their hashes: a changed file is another search."""
        return {"text": self._prompts.digest, "encoder": self._encoder.fingerprint}

    def check(self) -> None:
        """See ``Search.check``; the encoder is loaded, and must be able to read the texts."""
        super().check()
        self._encoder.check()

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        draws = self.generator(history)
        if not history:
            return int(draws.integers(len(self.space)))
        free = np.flatnonzero(untried(self.space, history))
        try:
            gains = self._gains(history, free, draws)
        except torch.linalg.LinAlgError:
            gains = torch.full((len(free),), torch.nan)
        if not gains.isfinite().all():  # the fit broke down
            return int(draws.choice(free))
        return int(free[int(gains.argmax())])

    def _gains(self, history: Sequence[Observation], free: np.ndarray, draws: np.random.Generator) -> torch.Tensor:
        """Expected improvement of the candidates [free]."""
        tried = [observation.candidate for observation in history]
        scores = standardise(filled_scores(history))
        projection = likelihood.Projection(self._encoder.width, draws)
        if self.token:
            tail = self._encoder.with_token(tried)
            token = self._encoder.start.clone().requires_grad_(True)
            process = likelihood.fit(lambda: tail.states(token).double(), scores, projection, token)
            order = sorted(free.tolist(), key=self._prompts.lines)  # neighbours begin alike
            places = {candidate: place for place, candidate in enumerate(order)}
            states = self._encoder.embed(order, token.detach())[[places[candidate] for candidate in free.tolist()]].double()
            with torch.no_grad():
                observed = tail.states(token).double()
        else:
            table = torch.from_numpy(np.array(self._encoder.table(token=False))).double()
            observed, states = table[tried], table[free]
            process = likelihood.fit(lambda: observed, scores, projection)
        with torch.no_grad():
            hidden = projection.hidden(observed)
            features, candidates = (likelihood.rescale(part, hidden) for part in (hidden, projection.hidden(states)))
            mean, variance = process.predict(features, scores, candidates)
        return improvement(mean, variance, float(scores.max()))

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self._prompts, *self._source())


def standardise(scores: Sequence[float]) -> torch.Tensor:
    """Scores [n] with zero mean and unit deviation (n − 1 in the denominator); of one score, or equal ones, 0.

    >>> standardise([1.0, 3.0]).tolist()
    [-0.7071067811865475, 0.7071067811865475]
    """
    values = torch.tensor(scores, dtype=torch.float64)
    spread = float(values.std()) if len(values) > 1 else 0.0
    return (values - values.mean()) / (spread if spread > 1e-8 else 1.0)
