"""Embeddings of all candidates by a frozen language model: the texts form a tree, of which each node is computed once."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from sweeps.errors import SweepError
from sweeps.language.cache import from_cache
from sweeps.language.packs import Pack, packs
from sweeps.language.prompts import Prompts

AGREE = 1e-3
"""Largest relative difference of a state that is computed with others from one alone: far above float32's rounding, and far
below what a wrong position or mask does."""

Past = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer [1, heads, tokens, size]."""


class Encoder:
    """Last hidden states of a causal language model, one vector a candidate.

    Without a token the vector is the state at the end of the text; with one, an input vector is appended to every text and the
    vector is the state there. Every text is the head's tokens and then each line's, cut into tokens line by line, so that equal
    beginnings of texts are equal beginnings of token sequences.

    Args:
        prompts: the texts.
        model: a decoder from Transformers (``AutoModel``), float32, frozen.
        tokenizer: its tokenizer.
        fingerprint: of the model's weights, for the cache of embeddings.
        limit: tokens that it reads at most.
        cache: folder for embeddings.

    Raises:
        SweepError: explanations that leave the model no room for a candidate.
    """

    def __init__(self, prompts: Prompts, model: Any, tokenizer: Any, fingerprint: str, limit: int, cache: Path) -> None:
        self.model, self.tokenizer, self.prompts = model.eval().requires_grad_(False), tokenizer, prompts
        self.fingerprint, self.limit, self.cache = fingerprint, limit, cache
        self._lines: dict[str, list[int]] = {}
        ids = tokenizer(prompts.head, add_special_tokens=True, verbose=False)["input_ids"]
        lines = [max(map(len, map(self._tokens, texts))) for texts, _ in prompts.lines_by_key.values()]
        if (length := len(ids) + sum(lines) + 1) > limit:  # one more for the token
            raise SweepError(f"the texts have up to {length} tokens, the encoder reads {limit}: shorten what is explained")
        with torch.no_grad():
            past = model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
        self.head = [(layer.keys, layer.values) for layer in past.layers]
        self._length = len(ids)
        self.start = model.get_input_embeddings().weight[ids].mean(0)

    @property
    def width(self) -> int:
        """Size of an embedding."""
        return int(self.start.numel())

    def table(self, token: bool) -> np.ndarray:
        """Embeddings of all candidates [candidates, width], float32, with the token at its start or without one; cached.

        The texts are read once for both.
        """

        def compute() -> np.ndarray:
            order = sorted(range(len(self.prompts.space)), key=self.prompts.lines)  # neighbours begin alike
            states = torch.empty(2, len(order), self.width)
            with torch.no_grad():
                for numbers, pack in packs(self._texts(order), self._tokens):
                    ends, behind, _ = self._run(pack, self.start)
                    states[:, numbers] = torch.stack([ends, behind])
            return states.numpy()

        return from_cache(self.cache / f"{self._digest()}.npy", compute)[int(token)]

    def check(self) -> None:
        """Read a text with others and alone, for a model may heed neither positions nor who sees whom.

        Raises:
            SweepError: the two differ.
        """
        order = sorted(self.prompts.space.cover(), key=self.prompts.lines)[-2:]
        together = self.embed(order, None)[-1]
        head = self.tokenizer(self.prompts.head, add_special_tokens=True)["input_ids"]
        ids = [*head, *(i for line in self.prompts.lines(order[-1]) for i in self._tokens(line))]
        with torch.no_grad():
            alone = self.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        if not float((together - alone).norm()) < AGREE * float(alone.norm()):
            kind = f"{type(self.model).__name__} with attention {self.model.config._attn_implementation}"
            raise SweepError(f"the encoder ({kind}) reads texts together otherwise than alone: it needs sdpa and position_ids")

    def embed(self, candidates: Sequence[int], token: torch.Tensor | None) -> torch.Tensor:
        """Embeddings of some candidates [n, width], with a token [width] or without one."""
        with torch.no_grad():
            runs = [self._run(pack, token) for _, pack in packs(self._texts(candidates), self._tokens)]
        return torch.cat([ends if token is None else behind for ends, behind, _ in runs])

    def with_token(self, candidates: Sequence[int]) -> "Tail":
        """The texts of some candidates computed but for the token, through which one can differentiate again and again."""
        of_candidates = [pack for _, pack in packs(self._texts(candidates), self._tokens)]
        with torch.no_grad():
            return Tail(self, of_candidates, [self._behind_head(self._run(pack, None)[2]) for pack in of_candidates])

    def _behind_head(self, past: Past) -> Past:
        """Copies of what is not the head's: a search keeps them of each observation, and the head's once."""
        return [(keys[:, :, self._length :].clone(), values[:, :, self._length :].clone()) for keys, values in past]

    def _run(self, pack: Pack, token: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, Past]:
        """States of leaves, those of a token [width] behind each (none without one), and keys and values of head and pack."""
        t, n = len(pack.ids), len(pack.leaves)
        inputs, positions, sees = self.model.get_input_embeddings()(pack.ids), pack.positions, pack.sees
        if token is not None:
            inputs = torch.cat([inputs, token.expand(n, -1)])
            positions = torch.cat([positions, positions[pack.leaves] + 1])
            sees = torch.block_diag(sees, torch.eye(n, dtype=torch.bool)).bool()
            sees[t:, :t] = pack.sees[pack.leaves]
        states, past = self.forward(inputs, positions, sees, self.head)
        return states[pack.leaves], states[t:], past

    def forward(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        sees: torch.Tensor,
        past: Past,
    ) -> tuple[torch.Tensor, Past]:
        """States [t, width] of inputs [t, width] behind ``past``, all of whose head and what ``sees`` says they attend to."""
        cache = DynamicCache(past)
        head = sees.new_ones(len(inputs), self._length)
        output = self.model(
            inputs_embeds=inputs[None],
            position_ids=positions[None] + self._length,
            attention_mask=torch.cat([head, sees], dim=1)[None, None],
            past_key_values=cache,
            use_cache=True,
        )
        layers: Any = cache.layers
        return output.last_hidden_state[0], [(layer.keys, layer.values) for layer in layers]

    def _texts(self, candidates: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        return ((candidate, self.prompts.lines(candidate)) for candidate in candidates)

    def _tokens(self, line: str) -> list[int]:
        if line not in self._lines:
            self._lines[line] = self.tokenizer(line, add_special_tokens=False)["input_ids"]
        return self._lines[line]

    def _digest(self) -> str:
        return hashlib.sha256(f"{self.fingerprint} {self.prompts.digest}".encode()).hexdigest()[:16]


class Tail:
    """Texts whose keys and values are known; only the token behind them is still to come."""

    def __init__(self, encoder: Encoder, packs: list[Pack], past: list[Past]) -> None:
        self._encoder, self._packs, self._past = encoder, packs, past

    def states(self, token: torch.Tensor) -> torch.Tensor:
        """Embeddings [n, width] with this token [width], or with one for each text [n, width]."""
        sizes = [len(pack.leaves) for pack in self._packs]
        states = []
        for pack, past, inputs in zip(self._packs, self._past, token.expand(sum(sizes), -1).split(sizes), strict=True):
            sees = torch.cat([pack.sees[pack.leaves], torch.eye(len(inputs), dtype=torch.bool)], dim=1)
            whole = [
                (torch.cat([keys, own_keys], dim=2), torch.cat([values, own_values], dim=2))
                for (keys, values), (own_keys, own_values) in zip(self._encoder.head, past, strict=True)
            ]
            states.append(self._encoder.forward(inputs, pack.positions[pack.leaves] + 1, sees, whole)[0])
        return torch.cat(states)

    def slopes(self, token: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """How a change of the token moves the embeddings along directions [k, width]: derivatives [n, k, width]."""
        n = sum(len(pack.leaves) for pack in self._packs)
        tokens = token.detach().repeat(n, 1).requires_grad_(True)
        along = self.states(tokens) @ directions.T
        rows = [torch.autograd.grad(along[:, k].sum(), tokens, retain_graph=True)[0] for k in range(len(directions))]
        return torch.stack(rows, dim=1)
