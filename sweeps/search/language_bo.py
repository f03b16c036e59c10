"""Language-guided Bayesian optimisation (paper 2, arXiv 2602.11171): candidates in words, read by a frozen language model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweeps.search.base import Observation, Search, filled, untried, warped
from sweeps.search.prompts import Prompts, Text
from sweeps.space import Space

STEPS = 150
"""Of the projection and the process, on embeddings that are at hand."""

TOKEN_STEPS = 12
"""Of the token with them, each of which runs the language model on one token an observation."""

SHORTLIST = 192
"""Candidates whose embedding is computed with the trained token; found by the embeddings with the token's start."""


class LanguageBO(Search):
    """A deep-kernel process on embeddings of the candidates' texts; the candidate of largest log EI.

    Each candidate is a text: the domain's explanations, then its values (``sweeps.search.prompts``), then a learnable input
    vector, the token. x is the language model's last state there; z = ELU(Wx + b) in [−1, 1]; f(z) a Matérn-5/2 process. Token,
    W, b and the process are fitted to the marginal likelihood. Against overfitting to at most some 30 scores: W starts from the
    principal axes of all candidates and is held to them; the process has priors; steps are few; every question fits anew from
    the same start; scores are ``warped``; and where leaving out each observation shows a numeric process (``gp``) to predict
    better, the question is asked by that.

    With a token, the 45,360 candidates of paper 2 would cost two minutes a question. So all are first judged by their cached
    embeddings with the token's start, moved by the mean change over the observations, and the ``SHORTLIST`` best exactly.

    Args:
        space: the candidates.
        seed: of a first question without any history.
        encoder: returns a decoder, its tokenizer, the weights' fingerprint and a folder for embeddings.
        text: a name of ``texts/`` or a file.
        projection: False: the process sees the embedding itself.
        domain: False: no explanations.
        token: False: the state at the end of the text.
        fallback: False: never ask by ``gp``.
    """

    needs = ("botorch",)

    def __init__(
        self,
        space: Space,
        seed: int,
        encoder: Callable[[], tuple[Any, Any, str, Path]],
        text: str = "lora",
        projection: bool = True,
        domain: bool = True,
        token: bool = True,
        fallback: bool = True,
    ) -> None:
        super().__init__(space, seed)
        self.projection, self.token, self.fallback = projection, token, fallback
        self._prompts, self._load = Prompts(space, Text.read(text), domain), encoder
        self._ready: tuple[Any, Any] | None = None
        self.fell_back = False

    def _embeddings(self) -> tuple[Any, Any]:
        """The encoder, and the embeddings of all candidates with the token's start."""
        import torch

        from sweeps.search.deep import Standard
        from sweeps.search.encoder import Encoder

        if self._ready is None:
            model, tokenizer, fingerprint, folder = self._load()
            encoder = Encoder(model, tokenizer, self._prompts, fingerprint, folder)
            self._ready = encoder, Standard(torch.from_numpy(encoder.table(self.token)).double())
        return self._ready

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        import numpy as np
        import torch

        from sweeps.search import deep, gp

        if not history:
            return int(self.generator(history).integers(len(self.space)))
        encoder, standard = self._embeddings()
        tried = [one.candidate for one in history]
        free = np.flatnonzero(untried(self.space, history))
        scores = torch.from_numpy(warped(filled(history)))
        projection = deep.Projection(standard.axes) if self.projection else None
        features = projection or (lambda x, observed=False: x)

        x = standard.table[tried]
        model = deep.process(features(x, observed=True).detach(), scores)
        deep.train(model, lambda: features(x, observed=True), projection, None, STEPS)
        moved, token = torch.zeros_like(x[0]), None
        if self.token:
            tail, token = encoder.with_token(tried), encoder.start.clone().requires_grad_(True)

            def with_token() -> Any:
                return standard(tail.states(token).double())

            deep.train(model, lambda: features(with_token(), observed=True), projection, token, TOKEN_STEPS)
            with torch.no_grad():
                moved = (with_token() - x).mean(0)
        if self.fallback:
            numeric = gp.fitted(torch.from_numpy(self.space.encoded)[tried], scores)
            self.fell_back = not deep.left_out(model) > deep.left_out(numeric)
            if self.fell_back:
                return int(free[gp.best(numeric, torch.from_numpy(self.space.encoded[free]), float(scores.max()))])
        with torch.no_grad():
            judged = gp.log_improvement(model, features(standard.table[free] + moved), float(scores.max()))
            if token is not None:
                free = free[np.sort(judged.topk(min(SHORTLIST, len(free))).indices.numpy())]
                exact = standard(encoder.embed(free.tolist(), token).double())
                judged = gp.log_improvement(model, features(exact), float(scores.max()))
        return int(free[int(judged.argmax())])
