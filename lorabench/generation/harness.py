"""What lm-eval asks of a model, answered by a generator. Imports lm-eval: only ``lm_eval.py`` beside it may import this."""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.models.base import Base

MAX_NEW_TOKENS = 256  # lm-eval's own, where the task says none
WAYS = "leave that task out of evaluator.tasks, or with vLLM raise evaluator.engine.max_model_len"


class Served(TemplateLM):
    """The weights that a generator serves, seen as an lm-eval model.

    Windows and truncation are those of lm-eval's own ``HFLM``, and so are tokens but of tokenizers that close each text (see
    ``models.text``), so that both give the same numbers.
    """

    def __init__(self, generator: Generator, base: Base) -> None:
        super().__init__()
        self.generator, self.base, self.tokenizer = generator, base, base.tokenizer
        self.max_length = generator.max_length

    @property
    def eot_token_id(self) -> int:
        """The end token."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: the tokenizer's start token, or else its end token."""
        return self.tokenizer.eos_token_id if self.tokenizer.bos_token_id is None else self.tokenizer.bos_token_id

    @property
    def tokenizer_name(self) -> str:
        """The name under which lm-eval would keep requests."""
        return self.tokenizer.name_or_path.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids; by default as a prompt's."""
        if add_special_tokens is False:
            return self.tokenizer.encode(string, add_special_tokens=False)
        return self.base.prompt_ids([string])[0]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        pairs = []
        for _, context, continuation in requests:
            if (length := len(continuation)) > self.max_length:
                raise UserError(
                    f"lm-eval asks for an answer of {length} tokens, more than the {self.max_length} that fit; {WAYS}"
                )
            # The last token is only predicted, so one more than the model takes fits.
            pairs.append((context[-(self.max_length + 1 - len(continuation)) :], continuation))
        return self.generator.loglikelihoods(pairs)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text, in windows of the model's length, every token predicted once."""
        windows, owners = [], []
        for owner, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            for window in get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, context_len=1):
                windows.append((None, *make_disjoint_window(window)))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, (value, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += value
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy completions, requests of like limits together."""
        groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for i, request in enumerate(requests):
            settings = normalize_gen_kwargs(request.args[1], MAX_NEW_TOKENS)
            stop = tuple(text for text in settings["until"] if text)
            groups.setdefault((settings["max_gen_toks"], stop), []).append(i)
        completions = [""] * len(requests)
        for (length, stop), members in groups.items():
            prompts = [self._cut(requests[i].args[0], length) for i in members]
            for i, text in zip(members, self.generator.generate(prompts, length, stop), strict=True):
                completions[i] = text
        return completions

    def _cut(self, prompt: str, new_tokens: int) -> str:
        """The end of a prompt that leaves no room for the answer."""
        room = self.max_length - new_tokens
        if room < 1:
            raise UserError(f"lm-eval asks for {new_tokens} new tokens, all or more of the {self.max_length} that fit; {WAYS}")
        ids, kept = self.tok_encode(prompt), room
        while len(self.tok_encode(prompt)) > room:
            prompt = str(self.tokenizer.decode(ids[len(ids) - kept :], skip_special_tokens=True))
            kept -= 1  # a text that is cut may have more tokens than were kept
        return prompt
