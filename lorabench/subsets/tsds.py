"""Samples like the validation problems, without near-duplicates (after TSDS, Liu et al. 2024, arXiv 2410.11303)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from lorabench.errors import UserError
from lorabench.files import cache_dir, digest, replaced
from lorabench.models.base import Base
from lorabench.models.fingerprint import fingerprint
from lorabench.subsets.base import Subset
from lorabench.training.data import Corpus, collate, micro_batches

TOKENS, PADDING = 8192, 0.2  # of a batch of the passes that embed
CHUNK = 1024  # rows of a distance matrix held at a time


@dataclass
class TSDS(Subset):
    """Every validation text spreads an equal mass over its nearest samples; samples are drawn by mass, without replacement.

    With e the base model's mean last state over a text's tokens, centred on the samples and of length 1, and N(q) the
    ``neighbours`` samples nearest to the validation text q, sample i has the mass

        p_i = mean_q  [i ∈ N(q)] (1/ρ_i) / Σ_{j ∈ N(q)} 1/ρ_j,     ρ_i = Σ_j max(0, 1 − |e_i − e_j|² / bandwidth²):

    the optimal transport of TSDS for a given number of neighbours, with its kernel density estimate ρ, by which m copies of a
    text share the mass of one. Samples without mass come last, in random order. "Like": one density for all samples of
    positive mass, and neighbours as a number, where TSDS weighs transport cost against diversity.

    Attributes:
        neighbours: samples that share a validation text's mass.
        bandwidth: distance from which texts do not count as copies.
    """

    version: ClassVar[int] = 1

    neighbours: int
    bandwidth: float

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.bandwidth > 0:
            raise UserError(f"subset.neighbours={self.neighbours} and subset.bandwidth={self.bandwidth} must be positive")

    def order(
        self, base: Base, corpus: Corpus, chosen: Sequence[int], validation: Corpus, generator: torch.Generator
    ) -> list[int]:
        """See ``Subset.order``."""
        samples = embeddings(base, corpus, chosen)
        mass = masses(samples, embeddings(base, validation, range(len(validation))), self.neighbours, self.bandwidth)
        # Exponential clocks of rate p ring in the order of draws by mass without replacement (Efraimidis & Spirakis 2006).
        clocks = torch.empty(len(mass)).exponential_(generator=generator).double()
        late = torch.where(mass > 0, 0.0, 1.0)
        clocks = torch.where(mass > 0, clocks / mass.clamp(min=1e-300), clocks)
        return [chosen[i] for i in np.lexsort((clocks.numpy(), late.numpy()))]


def masses(samples: torch.Tensor, targets: torch.Tensor, neighbours: int, bandwidth: float) -> torch.Tensor:
    """p of each sample [n], float64, which sum to 1; see ``TSDS``.

    Args:
        samples: embeddings [n, d].
        targets: embeddings [m, d].
        neighbours: nearest samples of a target; all where there are fewer.
        bandwidth: of the density.
    """
    center = samples.mean(0)
    samples, targets = (torch.nn.functional.normalize(e - center, dim=1) for e in (samples, targets))
    near = torch.cat([(part @ samples.T).topk(min(neighbours, len(samples))).indices for part in targets.split(CHUNK)])
    reached = near.unique()
    among = samples[reached]
    # |a − b|² = 2 − 2 a·b for vectors of length 1
    density = torch.cat([(1 - (2 - 2 * part @ among.T) / bandwidth**2).clamp(min=0).sum(1) for part in among.split(CHUNK)])
    share = samples.new_zeros(len(samples), dtype=torch.float64)
    share[reached] = 1 / density.double().clamp(min=1)
    parts = share[near] / share[near].sum(1, keepdim=True)
    return torch.zeros_like(share).index_add_(0, near.flatten(), parts.flatten()) / len(targets)


def embeddings(base: Base, corpus: Corpus, indices: Sequence[int]) -> torch.Tensor:
    """Mean last hidden state over each text's tokens [n, d], float32 in main memory; kept in the cache folder."""
    encoded = corpus.encode(indices)
    key = [fingerprint(base.spec), base.state, str(base.model.dtype), [example.ids for example in encoded]]
    file = cache_dir("embeddings") / f"{digest(key)}.npy"
    if not file.exists():
        averages = torch.empty(len(encoded), base.model.config.get_text_config().hidden_size)
        for group in micro_batches([len(example.ids) for example in encoded], TOKENS, PADDING):
            ids, attention, _ = collate([encoded[i] for i in group], base.tokenizer.pad_token_id, base.device)
            with torch.no_grad():
                states = base.model.get_decoder()(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
            weights = attention / attention.sum(1, keepdim=True)
            averages[group] = torch.einsum("btd,bt->bd", states.float(), weights.float()).cpu()
        with replaced(file) as scratch, scratch.open("wb") as stream:
            np.save(stream, averages.numpy())
    return torch.from_numpy(np.load(file))
