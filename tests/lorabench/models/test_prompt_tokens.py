"""Text to tokens and back, with tokenizers of the kinds that the field's models have."""

import inspect
import json
import string
import textwrap

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lorabench.errors import UserError
from lorabench.models.base import Base
from lorabench.models.text import completion, example_ids, prompt_ids
from lorabench.training.data import Corpus

SOURCES = [inspect.getsource(module) for module in (textwrap, string, inspect)]
WORDS = [line for source in SOURCES for line in source.splitlines()]
SPECIAL = ["<unk>", "<s>", "</s>", "<cls>"]
TEMPLATES = {  # what a tokenizer puts around a text, and the start that remains
    "nothing": ("$A", []),
    "start": ("<s> $A", ["<s>"]),
    "end": ("$A </s>", []),
    "both": ("<s> $A </s>", ["<s>"]),
    "start twice": ("<s> <s> $A", ["<s>"]),
    "class": ("<cls> $A </s>", ["<cls>"]),
    "class and start": ("<cls> <s> $A", ["<cls>", "<s>"]),
}


def with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with a token for each byte, as SentencePiece has for characters that it does not know."""
    content = json.loads(tokenizer.to_str())
    content["model"]["byte_fallback"] = True
    vocab = content["model"]["vocab"]
    for byte in range(256):
        if isinstance(vocab, dict):
            vocab[f"<0x{byte:02X}>"] = len(vocab)
        else:
            vocab.append([f"<0x{byte:02X}>", -20.0])
    return Tokenizer.from_str(json.dumps(content))


def sentencepiece_bpe() -> Tokenizer:
    """As Llama 2's: spaces are written ▁, one stands before the text, and the decoder drops it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(WORDS, trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL, show_progress=False))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return with_bytes(tokenizer)


def sentencepiece_unigram() -> Tokenizer:
    """As T5's and Gemma's kind: Metaspace on both sides."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.UnigramTrainer(vocab_size=600, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always", split=True)])
    return with_bytes(tokenizer)


def byte_level() -> Tokenizer:
    """As GPT-2's, Llama 3's and Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SOURCES, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


KINDS = {make.__name__: make().to_str() for make in (sentencepiece_bpe, sentencepiece_unigram, byte_level)}


def tokenizer_of(kind: str, template: str = "start", **settings) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_str(KINDS[kind])
    special = [(token, tokenizer.token_to_id(token)) for token in SPECIAL]
    tokenizer.post_processor = processors.TemplateProcessing(single=TEMPLATES[template][0], special_tokens=special)
    tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<cls>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens | settings)


def functions() -> list[tuple[str, str]]:
    """Heads and bodies of Python functions, the body to be written by a model: it begins with spaces."""
    pairs = []
    for source in SOURCES:
        for part in source.split("\ndef ")[1:]:
            head, colon, body = part.partition("):\n")
            if colon and body.startswith("    "):
                pairs.append((f"def {head}{colon}", body))
    return pairs


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_of_functions_come_back_as_they_were_written(kind):
    """Decoded alone, those of SentencePiece tokenizers lose their first space: 4 of HumanEval's 164 then parse."""
    tokenizer, pairs = tokenizer_of(kind), functions()
    assert len(pairs) > 60
    lost = 0
    for (_, body), (ids, (length, _)) in zip(pairs, example_ids(tokenizer, pairs), strict=True):
        assert completion(tokenizer, ids[:length], ids[length:], [tokenizer.eos_token_id]) == body
        lost += tokenizer.decode(ids[length:], skip_special_tokens=True) != body
    assert (lost > 0.9 * len(pairs)) == (kind != "byte_level")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", [" é", "é", " 漢字 x", "x , y .", " a", "  a", "", "a</s>"])
@pytest.mark.parametrize("prompt", ["Say it:", "Say it: ", "Café\n"])
def test_an_answer_is_what_it_adds_to_its_prompt(kind, prompt, answer):
    """Spaces, characters of several bytes, and spaces before stops, which some tokenizers would clean up."""
    tokenizer = tokenizer_of(kind, clean_up_tokenization_spaces=True)
    [(ids, (length, _))] = example_ids(tokenizer, [(prompt, answer)])
    text = completion(tokenizer, ids[:length], ids[length:], [tokenizer.eos_token_id])
    assert text == answer.removesuffix("</s>")


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_that_ends_an_answer_too_early_spoils_nothing_else(kind):
    tokenizer = tokenizer_of(kind)
    [(ids, (length, _))] = example_ids(tokenizer, [("Say it:", " x 漢")])
    whole = ids[length:-1]
    for end in range(1, 3):  # bytes of the character that the limit cut off
        text = completion(tokenizer, ids[:length], whole[: len(whole) - end], [2])
        assert text.rstrip("�") == " x "
    begun = [*ids[:length], *whole[:-1]]  # a prompt that ends within a character
    assert completion(tokenizer, begun, [whole[-1]], [2]).startswith("漢")


def test_special_tokens_at_the_border_have_no_text():
    for kind in KINDS:
        tokenizer = tokenizer_of(kind)
        [prompt], [(ids, (length, _))] = prompt_ids(tokenizer, ["a:"]), example_ids(tokenizer, [("a:", " b")])
        answer = ids[length:-1]
        assert completion(tokenizer, prompt, [3, *answer, 2, *answer], [2]) == " b"
        assert completion(tokenizer, [*prompt, 3], answer, [2]) == " b"
        assert completion(tokenizer, prompt, [*answer, answer[-1]], [answer[-1]]) in (
            "",
            " ",
        )  # an end that is no special token


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_training_and_generation_have_one_prompt_whatever_the_template(kind, template):
    tokenizer = tokenizer_of(kind, template)
    pairs = [("Q: 1+1\nA:", " 2"), ("Q: x", "y"), ("a ", "b"), ("a", ""), ("<s>Q:", " z"), ("Q:", " 2</s>")]
    prompts = prompt_ids(tokenizer, [prompt for prompt, _ in pairs])
    start = tokenizer.convert_tokens_to_ids(TEMPLATES[template][1])
    for (text, target), prompt, (ids, (length, _)) in zip(pairs, prompts, example_ids(tokenizer, pairs), strict=True):
        plain = tokenizer(text.removeprefix("<s>"), add_special_tokens=False)["input_ids"]
        if not text.startswith("<s>"):
            assert prompt == [*start, *plain]
        assert prompt.count(1) == (1 if 1 in start or "<s>" in text else 0)
        assert prompt[-1] != tokenizer.eos_token_id
        assert ids[:length] == prompt  # generation goes on from what training saw
        assert ids[length:].count(tokenizer.eos_token_id) == 1
        assert ids[-1] == tokenizer.eos_token_id
        assert completion(tokenizer, prompt, ids[length:], [2]) == target.removesuffix("</s>")
        [encoded] = Corpus([(text, target)], tokenizer, 512).encode([0])
        assert (list(encoded.ids), encoded.prompt_length) == (ids, length)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", ["nothing", "start"])
def test_ordinary_tokenizers_keep_their_ids(kind, template):
    """The rule of before, which is that of PiSSA's preprocessing, wherever it was right."""
    tokenizer = tokenizer_of(kind, template)
    pairs = functions()
    texts = [prompt for prompt, _ in pairs]
    assert prompt_ids(tokenizer, texts) == tokenizer(texts)["input_ids"]
    for (prompt, body), (ids, (length, _)) in zip(pairs, example_ids(tokenizer, pairs), strict=True):
        before = [*tokenizer(prompt + body)["input_ids"], tokenizer.eos_token_id]
        if before[:length] == ids[:length]:
            assert ids == before


def test_the_embedded_tokenizer_keeps_its_ids(tiny, texts):
    for (prompt, target), (ids, (length, _)) in zip(texts, example_ids(tiny.tokenizer, texts), strict=True):
        assert ids == [*tiny.tokenizer(prompt + target)["input_ids"], tiny.tokenizer.eos_token_id]
        assert ids[:length] == tiny.tokenizer(prompt)["input_ids"]


def test_a_target_that_would_merge_with_its_prompt_keeps_all_its_tokens():
    """``"a "`` and ``"def"`` would be ``a`` and `` def``: counting the prompt's tokens masked the target's only one."""
    tokenizer = tokenizer_of("byte_level", "nothing")
    [prompt, whole] = tokenizer(["a ", "a def"])["input_ids"]
    assert len(prompt) == len(whole) and prompt != whole
    [(ids, (length, _))] = example_ids(tokenizer, [("a ", "def")])
    assert (ids[:length], tokenizer.decode(ids[length:-1])) == (prompt, "def")


def test_a_tokenizer_that_knows_no_text_is_refused():
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), eos_token="</s>")
    with pytest.raises(UserError, match="makes no token of"):
        prompt_ids(empty, ["a"])


def test_a_token_without_an_embedding_is_named(tiny):
    tokenizer = tokenizer_of("byte_level")
    tokenizer.add_tokens(["<think>"])
    base = Base(tiny.spec, tiny.model, tokenizer, torch.device("cpu"))
    tokens = len(tokenizer)
    with pytest.raises(UserError, match=f"the token '<think>', id {tokens - 1}, which .* adds to its tokenizer alone"):
        base.prompt_ids(["a <think> b"])
    with pytest.raises(UserError, match="<think>"):
        Corpus([("a", "<think>")], tokenizer, 512, tokens - 1).encode([0])
