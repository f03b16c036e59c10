"""Lengths in tokens of prompts and responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from lorabench.models.text import example_ids, prompt_ids

CHUNK = 1000
"""Examples that are tokenised together: of large data not all ids are held at once."""

SHARES = {"min": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "max": 1.0}


@dataclass
class Lengths:
    """Of examples, in their order.

    Attributes:
        given: tokens that are not learned.
        learned: tokens that are, of a conversation of all answers, with the end token.
        last: of the last answer alone, without the end token: what is generated in evaluation.
    """

    given: list[int] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)

    @property
    def whole(self) -> list[int]:
        """Of the text that is trained on."""
        return [given + learned for given, learned in zip(self.given, self.learned, strict=True)]


def lengths(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]]) -> Lengths:
    """Of texts in parts, given and learned ones in turn."""
    measured = Lengths()
    for start in range(0, len(texts), CHUNK):
        for ids, ends in example_ids(tokenizer, texts[start : start + CHUNK]):
            of_parts = np.diff([0, *ends])
            measured.learned.append(int(of_parts[1::2].sum()))
            measured.given.append(len(ids) - measured.learned[-1])
            measured.last.append(int(of_parts[-1]) - 1)
    return measured


def prompt_lengths(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[int]:
    """Of prompts in evaluation."""
    chunks = (prompts[start : start + CHUNK] for start in range(0, len(prompts), CHUNK))
    return [len(ids) for chunk in chunks for ids in prompt_ids(tokenizer, chunk)]


def table(rows: Mapping[str, Sequence[int]]) -> list[str]:
    """Quantiles of each, by name; what has none is left out."""
    head = f"  {'':<14}" + "".join(f"{name:>9}" for name in SHARES)
    body = {name: [_quantile(values, share) for share in SHARES.values()] for name, values in rows.items() if values}
    return [head, *(f"  {name:<14}" + "".join(f"{value:>9,}" for value in of_row) for name, of_row in body.items())]


def beyond(values: Sequence[int], limit: int, what: str) -> str:
    """A line on how many values are larger than a limit."""
    count = sum(value > limit for value in values)
    share = f" ({count / len(values):.2%})" if count else ""
    return f"  {count:,} of {len(values):,}{share} {what}"


def _quantile(values: Sequence[int], share: float) -> int:
    """The smallest value that so large a share does not exceed."""
    return int(np.quantile(values, share, method="inverted_cdf"))
