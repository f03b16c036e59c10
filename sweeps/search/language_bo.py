"""Language-guided Bayesian optimisation after paper 2 (arXiv 2602.11171): candidates in words, read by a frozen language model.

It is not the paper's method; docs/language_bo.md lists the differences, and ``language_bo_paper`` is that method.
"""

import dataclasses
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from sweeps.errors import SweepError
from sweeps.language import features
from sweeps.language.encoder import Encoder, Tail
from sweeps.language.prompts import Prompts, Text
from sweeps.language.sentences import NO_TOKEN, Sentences
from sweeps.language.sources import Source
from sweeps.processes import deep
from sweeps.search.base import Observation, Search, filled_scores, untried, warp
from sweeps.space import Space

SHORTLIST = 12
"""Candidates whose embedding is computed with the fitted token; found by the embeddings with the token's start. So few that a
question of SmolLM2-135M stays below 20 s on two cores."""

DIRECTIONS = 8
"""In which the token moves: those that move the observations' features most; few beside some 30 scores. Not tuned."""

REACH, LIMIT = 0.1, 0.3
"""Prior deviation of the token in the first direction: features move by 0.1 (root mean square) or the token by 0.3 of its norm,
whichever is less, so that the slopes at the start still tell where features go. Not tuned."""


class LanguageBO(Search):
    """Deep-kernel processes on embeddings of the candidates' texts; the candidate of largest expected improvement.

    Each candidate is a text: the domain's explanations, then its values and those of the relations between them
    (``sweeps.language.prompts``), then a learnable input vector, the token. x is the language model's last state there,
    φ = P(x − c) the linear features in which the texts of all candidates tell axes and relations, levelled
    (``sweeps.language.features``), z = ELU(Wφ + b) − 1 the learnable projection, f(z) a Matérn-5/2 process. Token, W, b and the
    process are fitted together to the marginal likelihood.

    Against overfitting to at most some 30 scores: W, b and token have priors that hold them where they start, in few
    dimensions; the process has BoTorch's priors; steps are few; every question fits anew from the same start, for a fit that
    went on from the last one would hang on the path, and an interrupted search on where it stopped; scores are warped.
    And the fitted projection is only one of three models, the others being z = φ (no fit but the process's) and
    the numbers themselves (``gp``). Each is refitted, projection and token included, without each of five folds; the expected
    improvements are averaged with the weights that the left-out densities give (``deep.weights``), from scores warped together
    and the linear token. A model whose fit breaks down has no weight; where all do, the next candidate is drawn.

    With a token, embedding the 45,360 candidates of paper 2 would cost minutes a question. So the token is fitted to the
    features' slopes at its start, all candidates are first judged by their cached features moved by the mean change over the
    observations, and the ``SHORTLIST`` best exactly.

    Args:
        space: the candidates.
        seed: of a first question without any history.
        encoder: a decoder, or with ``token=False`` a model of sentences, and its tokenizer.
        text: a name of ``sweeps/language/texts`` or a file.
        projection: False: one process, with one length scale, on the embedding itself.
        domain: False: no explanations and no relations.
        relations: False: no relations.
        token: False: the state at the end of the text. A token is fitted through the projection.
        fallback: False: no model of the numbers.
        language: False: random vectors, one a value of each line, in place of the language model; without a token. A control.

    Raises:
        SweepError: no such text, or a token without a projection or a language model.
    """

    version: ClassVar[int] = 1

    needs = ("botorch",)

    def __init__(
        self,
        space: Space,
        seed: int,
        encoder: Source,
        text: str = "lora",
        projection: bool = True,
        domain: bool = True,
        relations: bool = True,
        token: bool = True,
        fallback: bool = True,
        language: bool = True,
    ) -> None:
        super().__init__(space, seed)
        if token and not language:
            raise SweepError("method.language=false needs method.token=false: a token is the language model's")
        if token and not projection:
            raise SweepError("method.projection=false needs method.token=false: the token is fitted through the projection")
        self.projection, self.token, self.fallback = projection, token, fallback
        self._prompts, self._source = Prompts(space, Text.read(text), domain, relations), encoder
        self._language = language
        self._ready: tuple[features.Readout, torch.Tensor] | None = None
        self._levelled: torch.Tensor  # what levelling adds to the features of each candidate
        self._tails: dict[int, tuple[Tail, torch.Tensor]] = {}

    def fingerprint(self) -> dict[str, Any]:
        """Texts and the encoder's weights by their hashes: a changed file is another search."""
        return {"text": self._prompts.digest} | ({"encoder": self._encoder.fingerprint} if self._language else {})

    def check(self) -> None:
        """See ``Search.check``; the encoder is loaded, and must be able to read the texts."""
        super().check()
        if self._language:
            if self.token and not self._source.causal:
                raise SweepError(NO_TOKEN)
            self._encoder.check()
            if self._prompts.unexplained:
                keys = ", ".join(self._prompts.unexplained)
                print(f"language_bo: the text does not explain {keys}, told by its values alone", file=sys.stderr)

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        if not history:
            return int(self.generator(history).integers(len(self.space)))
        tried = [observation.candidate for observation in history]
        free = np.flatnonzero(untried(self.space, history))
        scores = torch.from_numpy(warp(filled_scores(history)))
        members, token, moved = self._members(tried, scores)
        if not members:
            self.shares = {}
            return int(self.generator(history).choice(free))
        shares = deep.weights(members)
        named = list(zip([member.name for member in members], shares.tolist(), strict=True))
        self.shares = {arm: sum(share for name, share in named if name == arm) for arm in ("language", "gp")}

        phi, incumbent = self._embeddings()[1], float(scores.max())
        inputs = {"gp": torch.from_numpy(self.space.encoded[free]), "language": phi[free]}

        def judge(inputs: dict[str, torch.Tensor], with_token: torch.Tensor) -> torch.Tensor:
            """Log of the average expected improvement, [m]."""
            of_members = [inputs[member.name] if member.shift is None else with_token for member in members]
            return deep.log_average_improvement(members, shares, of_members, incumbent)

        gains = judge(inputs, phi[free] + moved)
        if token is not None:
            near = gains.topk(min(SHORTLIST, len(free))).indices.tolist()
            short = sorted(near, key=lambda i: self._prompts.lines(int(free[i])))  # neighbours begin alike
            states = self._encoder.embed(free[short].tolist(), token).numpy()
            exact = torch.from_numpy(self._embeddings()[0](states)) + self._levelled[free[short]]
            gains, free = judge({name: of_free[short] for name, of_free in inputs.items()}, exact), free[short]
        return int(free[int(gains.argmax())])

    @cached_property
    def _encoder(self) -> Any:
        return (Encoder if self._source.causal else Sentences)(self._prompts, *self._source())

    def _embeddings(self) -> tuple[features.Readout, torch.Tensor]:
        """The readout, and φ of all candidates with the token's start [candidates, inputs]."""
        if self._ready is None:
            columns = self._prompts.columns
            table = self._encoder.table(self.token) if self._language else features.without_language(columns)
            read = features.readout(table, columns) if self.projection else features.whole(table)
            raw = read(table)
            phi = features.level(raw, read.axes, columns)
            self._levelled = torch.from_numpy(phi - raw)
            self._ready = read, torch.from_numpy(phi)
        return self._ready

    def _members(self, tried: list[int], scores: torch.Tensor) -> tuple[list[deep.Member], torch.Tensor | None, torch.Tensor]:
        """The models; the fitted token [width]; and the mean change of φ by it [inputs], 0 without one."""
        read, phi = self._embeddings()
        observed, k = phi[tried], len(read.axes)
        members, fitted = [], None
        if not self.projection:
            members += [deep.attempt(lambda: deep.fixed_member("language", observed, scores, extent=1.0, shared=True))]
        else:
            steps, slopes = self._slopes(tried) if self.token else (None, None)
            start = deep.attempt(lambda: deep.fixed_member("language", observed[:, :k], scores))
            fitted = deep.attempt(lambda: deep.projected_member("language", observed, scores, k, slopes))
            members += [start and dataclasses.replace(start, features=lambda inputs: inputs[:, :k])]
        token: torch.Tensor | None = None
        moved = phi.new_zeros(phi.shape[1])
        if fitted is not None and fitted.shift is not None and steps is not None:
            linear = fitted
            token = self._encoder.start + (steps @ fitted.shift).float()
            with torch.no_grad():
                states = torch.cat([self._tails[candidate][0].states(token) for candidate in tried])
            exact = torch.from_numpy(read(states.numpy())) + self._levelled[tried]
            moved = (exact - observed).mean(0)
            fitted = deep.attempt(lambda: deep.move_inputs(linear, exact))
        members += [fitted]
        if self.fallback:
            numbers = torch.from_numpy(self.space.encoded[tried])
            members += [deep.attempt(lambda: deep.fixed_member("gp", numbers, scores, extent=1.0))]
        return [member for member in members if member is not None], token, moved

    def _slopes(self, tried: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps of the token by one prior deviation [width, t], and how each changes φ of the observations [n, inputs, t]."""
        read, phi = self._embeddings()
        k = len(read.axes)
        for candidate in tried:  # one at a time: rounding must not depend on the others
            if candidate not in self._tails:
                tail = self._encoder.with_token([candidate])
                slopes = tail.slopes(self._encoder.start, torch.from_numpy(read.matrix[:k]).float())
                self._tails[candidate] = tail, slopes[0].double()
        slopes = torch.stack([self._tails[candidate][1] for candidate in tried])  # [n, k, width]
        _, sizes, directions = torch.linalg.svd(slopes.flatten(0, 1), full_matrices=False)
        unit = REACH * len(tried) ** 0.5 * k**0.5 / float(sizes[0].clamp(min=1e-12))
        steps = directions[:DIRECTIONS].T * min(unit, LIMIT * float(self._encoder.start.norm()))
        changes = slopes @ steps
        return steps, torch.cat([changes, changes.new_zeros(len(tried), phi.shape[1] - k, steps.shape[1])], dim=1)
