"""Generation with transformers, in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch

from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.generation.stops import Stops, cut
from lorabench.models.base import Base
from lorabench.models.text import completion
from lorabench.schema import KNOB
from lorabench.terminal.bars import answers_bar, note
from lorabench.training.data import Encoded, collate
from lorabench.training.fitting import attempt
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
    _tokens: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise UserError(f"evaluator.batch_tokens={self.batch_tokens} must be at least 1")

    def load(self, base: Base) -> None:
        """Use the model that is already loaded for training."""
        self._base, self._tokens = base, self.batch_tokens

    @property
    def lowered(self) -> dict[str, int]:
        """The tokens of a batch, where fewer fit."""
        return {f"{self.key}.batch_tokens": self._tokens} if self._tokens < self.batch_tokens else {}

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
        base = self._base
        assert base is not None
        model, tokenizer = self._model, base.tokenizer
        encoded = base.prompt_ids(prompts)
        lengths = [len(ids) for ids in encoded]
        limits = self.answer_limits(lengths, max_new_tokens, base.max_length)
        completions = [""] * len(prompts)
        with answers_bar(len(prompts)) as finished:

            def answer(group: list[int]) -> None:
                longest = max(len(encoded[i]) for i in group)
                ids = torch.full((len(group), longest), tokenizer.pad_token_id)
                mask = torch.zeros_like(ids)
                for row, i in enumerate(group):  # on the left: generation goes on at the right end
                    ids[row, longest - len(encoded[i]) :] = torch.tensor(encoded[i])
                    mask[row, longest - len(encoded[i]) :] = 1
                rows = [encoded[i] for i in group]
                stops = [Stops(tokenizer, rows, longest, stop, base.ends)] if stop else None
                half = model.dtype == torch.bfloat16  # some layers of such a base are float32, see models.load
                with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
                    out = model.generate(
                        input_ids=ids.to(base.device),
                        attention_mask=mask.to(base.device),
                        max_new_tokens=limits[group[0]],
                        do_sample=False,
                        stopping_criteria=stops,
                    )
                for i, ids in zip(group, out[:, longest:].tolist(), strict=True):
                    # In a batch the others' rows go on, and so may a finished one's last token.
                    completions[i] = cut(completion(tokenizer, encoded[i], ids, base.ends), stop)
                finished(len(group))

            self._each_group(lengths, limits, answer)
        return completions

    @property
    def max_length(self) -> int:
        """The model's."""
        assert self._base is not None
        return self._base.max_length

    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Scores of continuations; pairs that differ in their last token alone share one row of a batch."""
        base = self._base
        assert base is not None
        model, pad = self._model, base.tokenizer.pad_token_id
        shared: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for i, (context, continuation) in enumerate(pairs):
            shared.setdefault((tuple(context), tuple(continuation[:-1])), []).append(i)
        members = list(shared.values())
        rows = [Encoded((*pairs[same[0]][0], *pairs[same[0]][1]), len(pairs[same[0]][0])) for same in members]
        scores = [(0.0, True)] * len(pairs)
        with answers_bar(len(pairs)) as finished:

            def score(group: list[int]) -> None:
                ids, mask, predict = collate([rows[j] for j in group], pad, base.device)
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

            self._each_group([len(row.ids) for row in rows], [0] * len(rows), score)
        return scores

    def _each_group(self, lengths: Sequence[int], limits: Sequence[int], work: Callable[[list[int]], None]) -> None:
        """Do the work on every batch; those that are left get smaller where memory runs out, down to one row."""
        waiting = self._groups(range(len(lengths)), lengths, limits)
        while waiting:
            group = waiting[0]
            if attempt(partial(work, group), divisible=len(group) > 1):
                del waiting[0]
                continue
            self._tokens = (lengths[group[0]] + limits[group[0]]) * len(group) // 2
            note(f"memory ran out: {self.key}.batch_tokens is {self._tokens} for the rest of this cell")
            waiting = self._groups([i for group in waiting for i in group], lengths, limits)

    def _groups(self, places: Sequence[int], lengths: Sequence[int], limits: Sequence[int]) -> list[list[int]]:
        """These places of rows as batches, which have one limit of new tokens."""
        groups: list[list[int]] = []
        group: list[int] = []
        for i in sorted(places, key=lambda i: -lengths[i]):
            # Longest first, so the open group's first prompt sets the width of all its rows.
            tokens = (lengths[group[0]] + limits[i]) * (len(group) + 1) if group else 0
            if group and limits[i] == limits[group[0]] and tokens <= self._tokens:
                group.append(i)
            else:
                group = [i]
                groups.append(group)
        return groups
