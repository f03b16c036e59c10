"""Embeddings of all candidates by a model of sentences, whose tokens see each other: each line is read by itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweeps.errors import SweepError
from sweeps.language.cache import from_cache
from sweeps.language.prompts import Prompts

NO_TOKEN = "this encoder needs method.token=false: a token stands behind a text, where only a causal model has read all of it"


class Sentences:
    """Sums of sentence embeddings, one vector a candidate; the counterpart of ``Encoder`` for a bidirectional model.

    There texts that begin alike share no state, and a candidate's whole text is longer than such models read. So a candidate
    is x = Σ u(line) over its lines, each behind the explanation of its key where there is one; u = v / |v|, v the mean of the
    last states over all tokens, as all-MiniLM-L6-v2's card gives it (MEAN in Reimers and Gurevych 2019, section 3).

    Args:
        prompts: the texts; what the head tells besides explanations of keys is left out, for all lines would share it.
        model: a bidirectional model from Transformers (``AutoModel``), float32.
        tokenizer: its tokenizer.
        fingerprint: of the model's weights, for the cache of embeddings.
        limit: tokens that it reads at most.
        cache: folder for embeddings.
    """

    def __init__(self, prompts: Prompts, model: Any, tokenizer: Any, fingerprint: str, limit: int, cache: Path) -> None:
        self.model, self.tokenizer, self.prompts = model.eval().requires_grad_(False), tokenizer, prompts
        self.fingerprint, self.limit, self.cache = fingerprint, limit, cache
        lines = prompts.lines_by_key
        self._texts = {key: [f"{prompts.explanations[key]}{line}".strip() for line in lines[key][0]] for key in lines}

    def check(self) -> None:
        """Raise SweepError for a text that is longer than the model reads: cut, it would lose its end, the value."""
        for key, texts in self._texts.items():
            length = max(len(self.tokenizer(text, verbose=False)["input_ids"]) for text in texts)
            if length > self.limit:
                raise SweepError(
                    f"the text of {key} has {length} tokens, the encoder reads {self.limit}: shorten what explains {key}"
                )

    def table(self, token: bool) -> np.ndarray:
        """Embeddings of all candidates [candidates, width], float32; what they are sums of is cached.

        Raises:
            SweepError: a token, or a text that is longer than the model reads.
        """
        if token:
            raise SweepError(NO_TOKEN)
        self.check()
        content = json.dumps([self.fingerprint, list(self._texts.values())])
        file = self.cache / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.npy"
        units = from_cache(file, lambda: np.stack([self._unit(text) for texts in self._texts.values() for text in texts]))
        sums = np.zeros((len(self.prompts.space), units.shape[1]), dtype=np.float32)
        first = 0  # of this key's texts
        for texts, at in self.prompts.lines_by_key.values():
            sums += units[first + at]
            first += len(texts)
        return sums

    def _unit(self, text: str) -> np.ndarray:
        """u of a text [width]."""
        with torch.no_grad():
            mean = self.model(**self.tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        return torch.nn.functional.normalize(mean, dim=0).numpy()
