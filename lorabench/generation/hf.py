"""Generation with transformers, in this process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.generation.stops import Stops, cut
from lorabench.models.base import Base
from lorabench.models.text import completion
from lorabench.schema import KNOB
from lorabench.terminal.bars import answers_bar
from lorabench.training.data import Encoded, collate
from lorabench.training.loss import head_at


@dataclass(kw_only=True)
class HFGenerator(Generator):
    """Batched greedy decoding, longest prompts first so that a batch holds prompts of like length.

    Attributes:
        name: as on the command line.
        batch_tokens: prompt and new tokens of one batch, padding included.
    """

    version: ClassVar[int] = 2
    serves_adapted: ClassVar[bool] = True

    name: str
    batch_tokens: int = field(metadata=KNOB)
    _base: Base | None = field(default=None, init=False, repr=False)
    _adapted: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise UserError(f"evaluator.batch_tokens={self.batch_tokens} must be at least 1")

    def load(self, base: Base) -> None:
        """Use the model that is already loaded for training."""
        self._base = base

    def close(self) -> None:
        """Let the model go."""
        self._base = self._adapted = None

    def use(self, merged: dict[str, torch.Tensor] | None) -> None:
        """Copy the weights into the loaded model, whose pristine ones come back first."""
        assert self._base is not None
        self._base.restore()
        if merged is not None:
            self._base.remember(list(merged))
            self._base.assign(merged)

    def use_adapted(self, model: Any) -> None:
        """Answer through this model instead of the base."""
        self._adapted = model

    @property
    def _model(self) -> Any:
        assert self._base is not None
        return self._base.model if self._adapted is None else self._adapted

    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy completions, in the prompts' order."""
        assert self._base is not None
        model, tokenizer = self._model, self._base.tokenizer
        encoded = self._base.prompt_ids(prompts)
        lengths = [len(ids) for ids in encoded]
        limits = self.answer_limits(lengths, max_new_tokens, self._base.max_length)
        completions = [""] * len(prompts)
        with answers_bar(len(prompts)) as finished:
            for group in self._groups(lengths, limits):
                longest = max(len(encoded[i]) for i in group)
                ids = torch.full((len(group), longest), tokenizer.pad_token_id)
                mask = torch.zeros_like(ids)
                for row, i in enumerate(group):  # on the left: generation goes on at the right end
                    ids[row, longest - len(encoded[i]) :] = torch.tensor(encoded[i])
                    mask[row, longest - len(encoded[i]) :] = 1
                rows = [encoded[i] for i in group]
                stops = [Stops(tokenizer, rows, longest, stop, self._base.ends)] if stop else None
                half = model.dtype == torch.bfloat16  # some layers of such a base are float32, see models.load
                with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
                    out = model.generate(
                        input_ids=ids.to(self._base.device),
                        attention_mask=mask.to(self._base.device),
                        max_new_tokens=limits[group[0]],
                        do_sample=False,
                        stopping_criteria=stops,
                    )
                for i, ids in zip(group, out[:, longest:].tolist(), strict=True):
                    # In a batch the others' rows go on, and so may a finished one's last token.
                    completions[i] = cut(completion(tokenizer, encoded[i], ids, self._base.ends), stop)
                finished(len(group))
        return completions

    @property
    def max_length(self) -> int:
        """The model's."""
        assert self._base is not None
        return self._base.max_length

    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Scores of continuations; pairs that differ in their last token alone share one row of a batch."""
        assert self._base is not None
        model, pad = self._model, self._base.tokenizer.pad_token_id
        shared: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for i, (context, continuation) in enumerate(pairs):
            shared.setdefault((tuple(context), tuple(continuation[:-1])), []).append(i)
        members = list(shared.values())
        rows = [Encoded((*pairs[same[0]][0], *pairs[same[0]][1]), len(pairs[same[0]][0])) for same in members]
        scores = [(0.0, True)] * len(pairs)
        with answers_bar(len(pairs)) as finished:
            for group in self._groups([len(row.ids) for row in rows], [0] * len(rows)):
                ids, mask, predict = collate([rows[j] for j in group], pad, self._base.device)
                half = model.dtype == torch.bfloat16
                with (
                    torch.inference_mode(),
                    torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half),
                    head_at(model, predict),
                ):
                    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # [positions, vocab]
                for j, part in zip(group, logits.split([rows[j].target_tokens for j in group]), strict=True):
                    logs = part.float().log_softmax(-1)  # one row at a time: all positions of a batch take much memory
                    for i in members[j]:
                        target = torch.tensor(pairs[i][1], dtype=torch.long, device=logs.device)
                        total = logs.gather(1, target[:, None]).sum().item()
                        scores[i] = (total, bool((logs.argmax(-1) == target).all()))
                finished(sum(len(members[j]) for j in group))
        return scores

    def _groups(self, lengths: Sequence[int], limits: Sequence[int]) -> list[list[int]]:
        """Places of the rows of each batch, which have one limit of new tokens."""
        groups: list[list[int]] = []
        group: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            # Longest first, so the open group's first prompt sets the width of all its rows.
            tokens = (lengths[group[0]] + limits[i]) * (len(group) + 1) if group else 0
            if group and limits[i] == limits[group[0]] and tokens <= self.batch_tokens:
                group.append(i)
            else:
                group = [i]
                groups.append(group)
        return groups
