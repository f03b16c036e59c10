"""Folders that cannot be loaded rightly: one line, before anything is trained."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BertConfig, GPT2Config, OPTConfig, T5Config
from transformers.models.auto import AutoModelForSequenceClassification

from lorabench.cells.plan import preflight
from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator
from lorabench.models.base import max_length
from lorabench.models.load import load
from lorabench.schema import PACKAGE, ModelConfig

CHECKPOINT = PACKAGE / "tiny" / "checkpoint"
CPU = torch.device("cpu")
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3482056\n"
DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"
EMBED = "model.embed_tokens.weight"
SIZES = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def edit(file, **changed):
    """Change entries of a JSON file; None removes one."""
    content = (json.loads(file.read_text()) if file.exists() else {}) | changed
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def weights(folder, change):
    file = folder / "model.safetensors"
    state = change(load_file(file))
    save_file({name: weight.contiguous() for name, weight in state.items()}, file, metadata={"format": "pt"})


def saved(folder, config, auto=AutoModelForCausalLM):
    """A random model of another kind, with the embedded tokenizer."""
    shutil.rmtree(folder)
    auto.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CHECKPOINT / name, folder)


def adapter(folder, target):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(target)


def lose_a_shard(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    min(folder.glob("model-*")).unlink()


def adapter_alone(folder):
    adapter(folder, folder / "adapter")
    for file in [*folder.iterdir()]:
        if file.is_file():
            file.unlink()
    for file in (folder / "adapter").iterdir():
        shutil.move(file, folder)


def classifier(folder):
    config = AutoModelForCausalLM.from_pretrained(folder).config
    saved(folder, config, AutoModelForSequenceClassification)
    edit(folder / "config.json", tie_word_embeddings=False)


def fewer_embeddings(folder):
    edit(folder / "config.json", vocab_size=300)
    weights(folder, lambda state: {name: w[:300] if "embed" in name else w for name, w in state.items()})


def scaled(state):
    return state | {DOWN: state[DOWN].to(torch.int8), DOWN.replace(".weight", ".scales"): torch.ones(128)}


def one_infinite(state):
    weight = state[QUERY].clone()
    weight[3, 5] = float("-inf")
    return state | {QUERY: weight}


def no_tokenizer(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()


def halved(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[: (folder / name).stat().st_size // 2])


def set_key(name, **changed):
    return lambda folder: edit(folder / name, **changed)


SPOILED = {
    "a weight that is missing": (
        lambda d: weights(d, lambda s: {n: w for n, w in s.items() if n != DOWN}),
        f"1 of the model's weights are missing, such as {DOWN}; nothing is drawn at random",
    ),
    "names with a prefix": (
        lambda d: weights(d, lambda s: {f"module.{n}": w for n, w in s.items()}),
        "weights are missing, .* none of its own, such as module.model.* .all begin with module.",
    ),
    "a weight too many": (
        lambda d: weights(d, lambda s: s | {"model.layers.4.mlp.down_proj.weight": s[DOWN].clone()}),
        "1 are none of its own, such as model.layers.4",
    ),
    "another head": (classifier, "such as lm_head.weight, and 1 are none of its own, such as score.weight .*another head"),
    "quantised weights": (lambda d: weights(d, scaled), f"{DOWN} is stored as I8, so quantised"),
    "scales alone": (
        lambda d: weights(d, lambda s: s | {DOWN.replace(".weight", ".scales"): torch.ones(128)}),
        "none of its own, such as .*scales .scales of quantised weights",
    ),
    "quantised": (set_key("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "is quantised .*gptq"),
    "adapter beside": (lambda d: adapter(d, d), "holds an adapter .*merge_and_unload"),
    "adapter alone": (adapter_alone, "holds an adapter .*merge_and_unload"),
    "pointer for weights": (lambda d: (d / "model.safetensors").write_text(LFS), "model.safetensors is a pointer of Git LFS"),
    "pointer for a tokenizer": (lambda d: (d / "tokenizer.json").write_text(LFS), "tokenizer.json is a pointer of Git LFS"),
    "pointer for a config": (lambda d: (d / "config.json").write_text(LFS), "config.json is a pointer of Git LFS"),
    "unknown type": (set_key("config.json", model_type="lama"), "model_type=lama, which transformers .* lacks"),
    "no type": (set_key("config.json", model_type=None), "model_type=None, which transformers .* lacks"),
    "own code": (
        set_key("config.json", model_type="mine", auto_map={"AutoModelForCausalLM": "mine.Model"}),
        "needs code of its own .auto_map., which is not run here",
    ),
    "lost shard": (lose_a_shard, "lacks 1 of the 4 files that its index names, such as model-00001"),
    "msgpack": (lambda d: (d / "model.safetensors").rename(d / "model.pt"), "holds no model.safetensors, only model.pt"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "holds no model.safetensors;"),
    "no tokenizer": (no_tokenizer, "holds no tokenizer"),
    "damaged tokenizer": (lambda d: halved(d, "tokenizer.json"), "has a tokenizer that cannot be loaded"),
    "other shapes": (set_key("config.json", intermediate_size=360), r"is 128 x 352, but config.json makes it 128 x 360"),
    "ids beyond": (fewer_embeddings, "with id 482, but the model has embeddings for 300 ids"),
    "truncated": (lambda d: halved(d, "model.safetensors"), "bytes, where its head says 3482056: truncated"),
    "empty": (lambda d: (d / "model.safetensors").write_bytes(b""), "is no whole safetensors file"),
    "damaged head": (
        lambda d: (d / "model.safetensors").write_bytes(b"\x05" + 7 * b"\0" + b"{{{{{"),
        "has a damaged head",
    ),
    "broken config": (lambda d: (d / "config.json").write_text('{"model_type": "llama",'), "config.json is no JSON"),
    "list for a config": (lambda d: (d / "config.json").write_text("[]"), "config.json holds a list instead of an object"),
    "odd config": (set_key("config.json", num_attention_heads=5), "makes no model|makes it|cannot be loaded"),
    "ends that are no ids": (set_key("generation_config.json", eos_token_id="</s>"), "eos_token_id=.</s>. .* no token's id"),
    "an end that is true": (set_key("generation_config.json", eos_token_id=True), "eos_token_id=true .* no token's id"),
    "an end below 0": (set_key("generation_config.json", eos_token_id=[1, -1]), r"eos_token_id=\[1, -1\] .* no token's id"),
    "no end at all": (set_key("generation_config.json", eos_token_id=[]), r"eos_token_id=\[\] .* no token's id"),
    "an end without a token": (
        set_key("generation_config.json", eos_token_id=[1, 512]),
        "eos_token_id=512 .* ends no answer: the model has tokens 0 to 511",
    ),
    "no end token": (set_key("tokenizer_config.json", eos_token=None), "its tokenizer has no end token"),
    "weights that are no numbers": (
        lambda d: weights(d, lambda s: s | {DOWN: s[DOWN] * float("nan")}),
        f"model.safetensors: {DOWN} has 45056 of 45056 values that are not finite in float32; get the file again",
    ),
    "weights that attention hides": (
        lambda d: weights(d, lambda s: s | {QUERY: s[QUERY] * float("nan")}),
        f"model.safetensors: {QUERY} has 16384 of 16384 values that are not finite",
    ),
    "one value that is none": (lambda d: weights(d, one_infinite), f"{QUERY} has 1 of 16384 values that are not finite"),
    "a head that is tied and not": (
        lambda d: weights(d, lambda s: s | {"lm_head.weight": s[EMBED] * 1.01}),
        f"model.safetensors: lm_head.weight differs from {EMBED}, which config.json says it is .tie_word_embeddings=true.",
    ),
    "encoder and decoder": (
        lambda d: saved(d, T5Config(vocab_size=512, d_model=32, d_ff=48, num_layers=2, num_heads=4), AutoModelForSeq2SeqLM),
        "model_type=t5 has an encoder and a decoder",
    ),
    "masked": (lambda d: saved(d, BertConfig(**SIZES, intermediate_size=48)), "model_type=bert predicts masked tokens"),
    "both directions": (
        set_key("config.json", model_type="gemma3_text", use_bidirectional_attention=True),
        "attends in both directions",
    ),
    "few positions": (
        lambda d: saved(d, OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=128)),
        "trainer.max_length=512 is more than the 128 tokens that model=.* takes; use trainer.max_length=128",
    ),
}


@pytest.fixture
def folder(tmp_path):
    """A copy of the embedded checkpoint, to be spoiled."""
    return shutil.copytree(CHECKPOINT, tmp_path / "copy")


@pytest.mark.parametrize("case", SPOILED)
def test_what_cannot_be_loaded_is_one_line_before_anything_is_trained(cell, folder, tmp_path, capsys, case):
    spoil, line = SPOILED[case]
    spoil(folder)
    capsys.readouterr()
    words = [f"model.path={folder}", "variant.target_modules=[q_proj]" if case == "few positions" else "rank=4"]
    with pytest.raises(UserError, match=line) as raised:
        preflight([OmegaConf.create(cell(*words, f"lr={lr}").config) for lr in ("1e-3", "2e-3")])
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value) or "few" in case
    assert not list(tmp_path.glob("*/record.json"))
    assert len(capsys.readouterr().err.splitlines()) <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_finite_in_the_precision_in_which_they_run(folder, dtype):
    """A value above bfloat16's largest, and a NaN in one of several files."""
    largest = torch.finfo(torch.float32).max

    def at_the_end(weight, entry):
        return torch.cat([weight.flatten()[:-1], torch.tensor([entry])]).view_as(weight)

    weights(folder, lambda s: s | {QUERY: at_the_end(s[QUERY], largest)})
    spec = ModelConfig(name="copy", path=str(folder))
    if dtype == torch.bfloat16:
        with pytest.raises(UserError, match=f"{QUERY} has 1 of 16384 values that are not finite in bfloat16; .* model.dtype"):
            load(spec, CPU, dtype)
    weights(folder, lambda s: s | {QUERY: at_the_end(s[QUERY], float("nan"))})
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    shard = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][QUERY]
    with pytest.raises(UserError, match=f"{shard}: {QUERY} has 1 of 16384"):
        load(spec, CPU, dtype)


def test_a_head_of_its_own_is_used_where_the_config_says_so(folder):
    weights(folder, lambda s: s | {"lm_head.weight": s[EMBED] * 2})
    edit(folder / "config.json", tie_word_embeddings=False)
    model = load(ModelConfig(name="copy", path=str(folder)), CPU, torch.float32).model
    assert torch.equal(model.lm_head.weight, 2 * model.model.embed_tokens.weight)


QUIET = {
    "flags": lambda d: edit(d / "generation_config.json", do_sample=False, temperature=0.6, top_p=0.9),
    "a start token that is not used": lambda d: edit(d / "config.json", bos_token_id=9999),
    "an end token that is not used": lambda d: edit(d / "config.json", eos_token_id=9999),
    "names": SPOILED["a weight too many"][0],
    "two heads": SPOILED["a head that is tied and not"][0],
}


@pytest.mark.parametrize("case", QUIET)
def test_what_is_answered_here_is_no_warning(folder, case):
    """In a process of its own: a handler of a test's would stand in the place of transformers'."""
    QUIET[case](folder)
    assert printed(folder) == []


def test_another_warning_is_shown_once(folder):
    edit(folder / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "odd": 3})
    assert printed(folder) == ["[transformers] Unrecognized keys in `rope_parameters` for 'rope_type'='default': {'odd'}"]


def printed(folder):
    """What a process prints while it looks through a checkpoint and loads it."""
    code = f"""
import contextlib, torch
from lorabench.errors import UserError
from lorabench.models.load import load
from lorabench.models.shapes import linear_shapes
from lorabench.schema import ModelConfig
spec = ModelConfig(name="copy", path={str(folder)!r})
with contextlib.suppress(UserError):
    linear_shapes(spec), load(spec, torch.device("cpu"), torch.float32)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).splitlines()


def test_of_a_grid_each_model_is_tried_first_and_the_first_cells_is_kept(cell, folder):
    weights(folder, lambda state: state | {DOWN: state[DOWN] * float("nan")})
    configs = [OmegaConf.create(cell(*words).config) for words in ([], [f"model.path={folder}"])]
    with pytest.raises(UserError, match=f"{DOWN} has .* not finite"):
        preflight(configs)
    session = cell().session
    assert preflight([configs[0], OmegaConf.create(cell("lr=1e-4").config)])
    assert session._base is not None
    assert session.base(cell().model, CPU) is session._base[1]


def test_a_model_is_tried_in_each_precision_of_a_grid(cell, folder):
    """In float32 the first cell's, which is kept; in bfloat16 a value of it is infinite."""
    large = torch.finfo(torch.float32).max
    weights(folder, lambda s: s | {QUERY: torch.where(torch.arange(128) == 7, large, s[QUERY])})
    words = [
        [f"model.path={folder}", f"model.dtype={dtype}", f"lr={lr}"] for lr in (1e-3, 2e-3) for dtype in ("float32", "bfloat16")
    ]
    with pytest.raises(UserError, match="not finite in bfloat16"):
        preflight([OmegaConf.create(cell(*each).config) for each in words])


def test_the_first_cells_model_is_kept_whatever_comes_last(cell):
    grid = [cell(f"model.dtype={dtype}") for dtype in ("float32", "bfloat16", "float32")]
    assert preflight([OmegaConf.create(each.config) for each in grid])
    assert grid[0].session._base is not None
    assert grid[0].session._base[1].model.dtype == torch.float32


def test_tied_heads_computed_buffers_and_stored_copies_of_heads_are_accepted(folder):
    """What is no missing weight: GPT-2's masks, a head that is the embedding, also where it is stored twice."""
    weights(folder, lambda s: s | {"lm_head.weight": s["model.embed_tokens.weight"].clone()})
    weights(folder, lambda s: s | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)})
    spec = ModelConfig(name="copy", path=str(folder))
    load(spec, CPU, torch.float32)
    ends = {"bos_token_id": None, "eos_token_id": 1}
    saved(folder, GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=64, **ends))
    weights(folder, lambda s: s | {"transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.uint8)})
    base = load(spec, CPU, torch.float32)
    assert max_length(base.model.config, base.tokenizer) == 64


def test_a_tokenizer_that_states_no_padding_gives_the_same_answers(folder, tiny):
    edit(folder / "tokenizer_config.json", pad_token=None)
    base = load(ModelConfig(name="copy", path=str(folder)), CPU, torch.float32)
    prompts = ["Q: 12+34\nA:", "Q: Tom has 3 apples and buys 4. How many?\nA:"]
    texts = []
    for each in (tiny, base):
        generator = HFGenerator(name="hf", batch_tokens=4096)
        generator.load(each)
        texts.append(generator.generate(prompts, 20))
    assert texts[0] == texts[1]


BENDING = {
    "repetition_penalty": 1.3,
    "no_repeat_ngram_size": 2,
    "encoder_repetition_penalty": 1.5,
    "num_beams": 3,
    "min_new_tokens": 12,
    "min_length": 80,
    "suppress_tokens": list(range(20, 60)),
    "begin_suppress_tokens": list(range(10, 400)),
    "bad_words_ids": [[token] for token in range(20, 60)],
    "forced_eos_token_id": 5,
    "forced_bos_token_id": 7,
    "do_sample": True,
    "temperature": 5.0,
    "top_k": 3,
    "max_new_tokens": 2,
    "max_length": 3,
    "stop_strings": ["1"],
    "cache_implementation": "static",
    "guidance_scale": 1.5,
    "sequence_bias": [[[30], -50.0]],
    "prompt_lookup_num_tokens": 3,
    "exponential_decay_length_penalty": [1, 3.0],
}


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_what_a_checkpoint_says_of_decoding_changes_no_answer(folder, tiny, arithmetic, file):
    """Together in one load, and each for itself where it has an effect of its own, in either place where it may stand."""
    prompts = [arithmetic.prompt(example) for example in arithmetic.test_examples()]
    generator = HFGenerator(name="hf", batch_tokens=16384)
    generator.load(tiny)
    plain = generator.generate(prompts, 16)
    for key in ("do_sample", "num_beams", None):  # the strongest two alone, then all
        shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
        edit(folder / file, **(BENDING if key is None else {key: BENDING[key]}))
        base = load(ModelConfig(name="copy", path=str(folder)), CPU, torch.float32)
        generator.load(base)
        assert generator.generate(prompts, 16) == plain


def test_every_id_that_ends_an_answer_ends_it(folder, tiny, arithmetic):
    """As Llama 3's, which states several beside its tokenizer's one."""
    prompts = [arithmetic.prompt(example) for example in arithmetic.test_examples()]
    generator = HFGenerator(name="hf", batch_tokens=16384)
    generator.load(tiny)
    plain = generator.generate(prompts, 16)
    dot = tiny.tokenizer(".")["input_ids"]
    edit(folder / "generation_config.json", eos_token_id=[1, *dot], pad_token_id=0)
    base = load(ModelConfig(name="copy", path=str(folder)), CPU, torch.float32)
    assert base.state["tokens"] == {"bos": None, "eos": sorted([1, *dot]), "pad": 0}
    generator.load(base)
    ended = generator.generate(prompts, 16)
    assert any("." in text for text in plain)
    assert ended == [text.partition(".")[0] for text in plain]
