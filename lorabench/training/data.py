"""Tokenised examples and the batches made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from lorabench.models.base import check_ids
from lorabench.models.text import example_ids


@dataclass(frozen=True)
class Encoded:
    """One training example: ``ids`` is the prompt, then the target with its end token; the loss is on the target.

    Attributes:
        ids: of all tokens.
        prompt_length: how many of them, at the beginning, are given; without a prompt the first, which nothing predicts.
        given: ranges (from, to) behind it that are given, too, of a conversation: what others say between the targets.
    """

    ids: tuple[int, ...]
    prompt_length: int
    given: tuple[tuple[int, int], ...] = ()

    @property
    def target_tokens(self) -> int:
        """Number of tokens that are predicted."""
        return len(self.ids) - self.prompt_length - sum(stop - start for start, stop in self.given)


class Corpus:
    """Training texts, tokenised when first asked for.

    A text is a prompt and its target, or more such pairs in turn. They have the ids of ``models.text.example_ids``, and the
    prompts' positions are masked, as in PiSSA's preprocessing, which paper 1 uses. Sequences are cut at ``max_length`` tokens;
    an example whose prompt fills them all has no target left and adds nothing to the loss. A text with a token beyond
    ``vocabulary``, where that is given, is a UserError.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[str]],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        vocabulary: int | None = None,
    ):
        self.texts, self.tokenizer, self.max_length, self.vocabulary = texts, tokenizer, max_length, vocabulary
        self._encoded: dict[int, Encoded] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def encode(self, indices: Sequence[int]) -> list[Encoded]:
        """Return the examples at ``indices``, in that order."""
        missing = [i for i in dict.fromkeys(indices) if i not in self._encoded]
        if missing:
            examples = example_ids(self.tokenizer, [self.texts[i] for i in missing])
            for i, (whole, ends) in zip(missing, examples, strict=True):
                if self.vocabulary is not None:
                    check_ids(whole, self.tokenizer, self.vocabulary)
                self._encoded[i] = _encoded(whole[: self.max_length], ends)
        return [self._encoded[i] for i in indices]


def _encoded(ids: Sequence[int], ends: Sequence[int]) -> Encoded:
    """An example whose parts, prompts and targets in turn, end at these places, as far as its ids go."""
    length = len(ids)
    given = [(start, min(stop, length)) for start, stop in zip(ends[1::2], ends[2::2], strict=False) if start < length]
    return Encoded(tuple(ids), min(max(1, ends[0]), length), tuple(given))


@dataclass(frozen=True)
class Corpora:
    """The texts of a task's splits that are learned from, selected by, and, where their likelihood is the score, tested on."""

    train: Corpus
    validation: Corpus
    test: Corpus | None = None


def subset(size: int, samples: int | None, generator: torch.Generator) -> list[int]:
    """Draw ``samples`` of ``size`` indices; for one seed a smaller subset is the head of a larger one."""
    order = torch.randperm(size, generator=generator).tolist()
    return order if samples is None else order[:samples]


def batches(indices: Sequence[int], batch_size: int, epochs: int, generator: torch.Generator) -> list[list[int]]:
    """Return the global batches of all epochs, freshly shuffled each epoch; the last of an epoch may be smaller."""
    result = []
    for _ in range(epochs):
        order = [indices[i] for i in torch.randperm(len(indices), generator=generator).tolist()]
        result += [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return result


def micro_batches(lengths: Sequence[int], max_tokens: int, max_padding: float) -> list[list[int]]:
    """Split examples into groups of like length, as positions into ``lengths``.

    Longest first; an example joins the open group while longest × count stays within ``max_tokens`` and the group's
    padding within ``max_padding`` of that area. A single example longer than ``max_tokens`` is a group of its own.
    """
    groups: list[list[int]] = []
    longest = filled = 0
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[position]
        if groups:
            area = longest * (len(groups[-1]) + 1)
            if area <= max_tokens and area - filled - length <= max_padding * area:
                groups[-1].append(position)
                filled += length
                continue
        groups.append([position])
        longest = filled = length
    return groups


def collate(examples: Sequence[Encoded], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad on the right.

    Returns:
        ids [batch, time], attention mask [batch, time] and ``predict`` [batch, time], true where the next token is a target.
    """
    time = max(len(e.ids) for e in examples)
    ids = torch.full((len(examples), time), pad, dtype=torch.long)
    attention = torch.zeros((len(examples), time), dtype=torch.long)
    predict = torch.zeros((len(examples), time), dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        attention[row, : len(example.ids)] = 1
        predict[row, max(0, example.prompt_length - 1) : len(example.ids) - 1] = example.target_tokens > 0
        for start, stop in example.given:
            predict[row, start - 1 : stop - 1] = False
    return ids.to(device), attention.to(device), predict.to(device)
