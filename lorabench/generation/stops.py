"""Where answers end: the stop texts, looked for in an answer alone and as it will be decoded."""

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from lorabench.models.text import completion

CONTEXT = 8  # tokens before those that are looked at: they may share a character, or a space, with them


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop text."""
    return text[: min((place for s in stop if (place := text.find(s)) >= 0), default=len(text))]


class Stops(StoppingCriteria):
    """Ends the rows of a batch whose answers hold a stop text.

    Transformers' own looks at the tokens of prompt and answer together, and so ends at a text that the prompt began.

    Args:
        tokenizer: of the ids.
        prompts: ids of each row's prompt, without padding.
        width: length of the padded prompts.
        stop: the texts.
        ends: ids of the tokens that end an answer.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Sequence[int]],
        width: int,
        stop: Sequence[str],
        ends: Collection[int],
    ):
        self.tokenizer, self.prompts, self.width, self.stop, self.ends = tokenizer, prompts, width, stop, ends
        # A token is a byte at least but for special ones, which are few.
        self.reach = max(len(text.encode()) for text in stop) + CONTEXT

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: object) -> torch.Tensor:
        """Say which rows of ``input_ids`` [batch, time] are done."""
        answers = input_ids[:, self.width :].tolist()
        done = [self._holds(prompt, answer) for prompt, answer in zip(self.prompts, answers, strict=True)]
        return torch.tensor(done, device=input_ids.device)

    def _holds(self, prompt: Sequence[int], answer: list[int]) -> bool:
        """Look at the last tokens, and where a stop text seems to be there, at the whole answer."""
        split = max(0, len(answer) - self.reach)
        before = [*prompt[-CONTEXT:], *answer[:split]][-CONTEXT:]
        last = completion(self.tokenizer, before, answer[split:], self.ends)
        if not any(text in last for text in self.stop):
            return False
        whole = completion(self.tokenizer, prompt, answer, self.ends)
        return any(text in whole for text in self.stop)
