"""Warnings of transformers about what is checked, or not used, here; all others are shown, each once."""

import logging

from transformers.utils import logging as transformers_logging

ANSWERED = (
    "The following generation flags are not valid",  # decoding is greedy whatever a checkpoint says
    "The tied weights mapping and config for this model specifies to tie",  # weights.check_tied
    "Model config: bos_token_id must be",  # what starts and fills a text is the tokenizer's, see load._check_tokens
    "Model config: pad_token_id must be",
    "Model config: eos_token_id must be",  # checkpoint.check_ends
    "Token indices sequence length is longer than",  # texts are cut at trainer.max_length, prompts that are too long refused
    "Ignoring clean_up_tokenization_spaces=True",  # answers are decoded without, see text.completion
)
"""First words of them."""

REPORT = "LOAD REPORT"
"""In transformers' table of names that a checkpoint lacks or has too many; load refuses them in one line."""


class Filter(logging.Filter):
    """Lets through what is not ``ANSWERED``, once; of other packages, whose handler it may be too, all."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a message."""
        if not record.name.startswith("transformers"):
            return True
        text = record.getMessage()
        if text.lstrip().startswith(ANSWERED) or REPORT in text or text in self._seen:
            return False
        self._seen.add(text)
        return True


def install() -> None:
    """Put one filter before all that transformers prints."""
    transformers_logging.get_verbosity()  # which makes its handler
    for handler in logging.getLogger("transformers").handlers:
        if not any(isinstance(each, Filter) for each in handler.filters):
            handler.addFilter(Filter())
