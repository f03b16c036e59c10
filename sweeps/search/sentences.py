"""Embeddings of all candidates by a model of sentences, whose tokens see each other: each line is read by itself."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.search.prompts import Prompts
from sweeps.space import SpaceError

if TYPE_CHECKING:
    import numpy as np

NO_TOKEN = "this encoder needs method.token=false: a token stands behind a text, where only a causal model has read all of it"


class Sentences:
    """Sums of sentence embeddings, one vector a candidate; the counterpart of ``Encoder`` for a bidirectional model.

    There texts that begin alike share no state, and a candidate's whole text is longer than such models read. So a candidate
    is x = Σ u(line) over its lines, each behind the explanation of its key where there is one; u = v / |v|, v the mean of the
    last states over all tokens, as all-MiniLM-L6-v2's card gives it (MEAN in Reimers and Gurevych 2019, section 3).

    Args:
        model: a bidirectional model from Transformers (``AutoModel``), float32.
        tokenizer: its tokenizer.
        prompts: the texts; what the head tells besides explanations of keys is left out, for all lines would share it.
        fingerprint: of the model's weights, for the cache of embeddings.
        cache: folder for embeddings.
    """

    def __init__(self, model: Any, tokenizer: Any, prompts: Prompts, fingerprint: str, cache: Path) -> None:
        self.model, self.tokenizer, self.prompts = model.eval().requires_grad_(False), tokenizer, prompts
        self.fingerprint, self.cache = fingerprint, cache

    def table(self, token: bool) -> "np.ndarray":
        """Embeddings of all candidates [candidates, width], float32; what they are sums of is cached.

        Raises:
            SpaceError: a token, or a text that is longer than the model reads.
        """
        import numpy as np

        from sweeps.search.encoder import kept

        if token:
            raise SpaceError(NO_TOKEN)
        lines = self.prompts.lines_by_key
        texts = {key: [f"{self.prompts.explanations[key]}{line}".strip() for line in lines[key][0]] for key in lines}
        content = json.dumps([self.fingerprint, list(texts.values())])
        file = self.cache / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.npy"
        units = kept(file, lambda: np.stack([self._unit(key, text) for key in texts for text in texts[key]]))
        found = np.zeros((len(self.prompts.space), units.shape[1]), dtype=np.float32)
        for _, at in lines.values():
            of_key, units = np.split(units, [at.max() + 1])
            found += of_key[at]
        return found

    def _unit(self, key: str, text: str) -> "np.ndarray":
        """u of a text [width]."""
        import torch

        given = self.tokenizer(text, return_tensors="pt", verbose=False)
        length, limit = given["input_ids"].shape[1], self._limit
        if length > limit:  # cut, it would lose its end, the value
            raise SpaceError(f"the text of {key} has {length} tokens, the encoder reads {limit}: shorten what explains {key}")
        with torch.no_grad():
            mean = self.model(**given).last_hidden_state[0].mean(0)
        return torch.nn.functional.normalize(mean, dim=0).numpy()

    @property
    def _limit(self) -> int:
        """Tokens that model and tokenizer take."""
        return int(min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings))
