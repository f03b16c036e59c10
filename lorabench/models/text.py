"""Text to token ids and back, by one rule for training, calibration, generation and scoring.

A prompt is what the tokenizer puts before a text, with the start token at most once, and the text's own tokens. Nothing stands
behind it: a tokenizer that closes every text, with its end token or a separator, closes no prompt. An example is the ids of its
prompt, those of its target, and one end token; of a conversation, those of all its parts in turn.

So generation goes on from the very ids that training saw. Where prompt and target together have other tokens at their border
than the prompt alone (``"a "`` and ``"b"`` against ``"a b"``), the prompt's own stand, and the target gets the tokens that it
has behind a text with which it does not merge.
"""

from collections.abc import Collection, Sequence
from itertools import takewhile
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

from lorabench.errors import UserError

PROBE = "a 1"
BORDERS = ("\n", "!", "a", "1")  # texts of four kinds: whatever a target begins with, it merges with some of them at most


def prompt_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as a prompt."""
    start = _start(tokenizer)
    return [_begun(tokenizer, start, ids) for ids in _plain(tokenizer, texts)]


def example_ids(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Sequence[str]]) -> list[tuple[list[int], list[int]]]:
    """Token ids of each example, the end token behind them, and where each of its parts ends among them.

    Args:
        tokenizer: of the model.
        examples: each the parts of one text in turn: a prompt and its target, or more such pairs, of a conversation.
    """
    start = _start(tokenizer)
    most = max(map(len, examples), default=0)
    texts = [["".join(parts[: n + 1]) for parts in examples if n < len(parts)] for n in range(most)]
    plain = [iter(_plain(tokenizer, of_length)) for of_length in texts]
    made = []
    for parts in examples:
        ids: list[int] = []
        ends: list[int] = []
        for n, part in enumerate(parts):
            whole = next(plain[n])
            ids = whole if whole[: len(ids)] == ids else ids + _behind_a_border(tokenizer, part)
            if n == len(parts) - 1:
                last = ends[-1] if ends else 0
                while len(ids) > last and ids[-1] == tokenizer.eos_token_id:
                    ids = ids[:-1]
            ends.append(len(ids))
        begun = _begun(tokenizer, start, ids[: ends[0]])
        shift = len(begun) - ends[0]
        whole_ids = [*begun, *ids[ends[0] :], tokenizer.eos_token_id]
        made.append((whole_ids, [*(end + shift for end in ends[:-1]), len(whole_ids)]))
    return made


def completion(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], ids: Sequence[int], ends: Collection[int]) -> str:
    """The text by which ``ids``, up to the first of the end tokens, extend a prompt.

    Decoded behind it: alone, a SentencePiece tokenizer would drop their first space, and bytes of a character that the prompt
    begins would be lost. Special tokens have no text.
    """
    answer = list(takewhile(lambda token: token not in ends, ids))
    texts = [
        str(tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        for tokens in (list(prompt), [*prompt, *answer])
    ]
    return texts[1][len(commonprefix(texts)) :]  # noqa: RUF071 (characters are wanted)


def _plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Ids without what the tokenizer puts around a text."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def _start(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before a text.

    Raises:
        UserError: it makes no tokens, or others within its frame than without.
    """
    plain, framed = (tokenizer(PROBE, add_special_tokens=special)["input_ids"] for special in (False, True))
    if not plain:
        raise UserError(
            f"{tokenizer.name_or_path}: its tokenizer makes no token of {PROBE!r}; give the model's own files of it"
        )
    for place in range(len(framed) - len(plain) + 1):
        if framed[place : place + len(plain)] == plain:
            return framed[:place]
    raise UserError(
        f"{tokenizer.name_or_path}: its tokenizer gives a text other tokens where it adds special ones, so that prompts cannot "
        "be told from their frame; give another tokenizer"
    )


def _begun(tokenizer: PreTrainedTokenizerBase, start: list[int], ids: list[int]) -> list[int]:
    """A text's own tokens behind the start, with one start token where either has some."""
    whole, bos = [*start, *ids], tokenizer.bos_token_id
    if bos is None or bos not in whole[: len(start) + 1]:
        return whole
    first = whole.index(bos)
    last = first
    while whole[last + 1 : last + 2] == [bos]:
        last += 1
    return whole[:first] + whole[last:]


def _behind_a_border(tokenizer: PreTrainedTokenizerBase, target: str) -> list[int]:
    """Ids of a text behind one with which it does not merge."""
    for border in BORDERS:
        before, both = _plain(tokenizer, [border, border + target])
        if both[: len(before)] == before:
            return both[len(before) :]
    return _plain(tokenizer, [target])[0]
