"""Whole cells on checkpoints of many families in a folder, with tokenizers of several kinds: from files to record."""

import json

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from lorabench.cells.run import run
from lorabench.errors import UserError

SIZES = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
GROUPED = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2}
TOKENS = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
MODELS = {
    "gpt2": {"vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512} | TOKENS,
    "falcon": SIZES | TOKENS,
    "mixtral": GROUPED | TOKENS | {"num_local_experts": 4},
    "qwen3_moe": GROUPED | TOKENS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "gpt_oss": GROUPED
    | TOKENS
    | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 8, "max_position_embeddings": 512},
}
ADAPTED = {"gpt2": ["c_attn", "c_proj", "c_fc"], "falcon": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]}
FEW = ["train_samples=8", "task.validation_samples=4", "task.test_samples=4", "trainer.max_length=256", "task.max_new_tokens=4"]


def byte_level(folder, texts, added=()):
    """A tokenizer as GPT-2's: bytes, one special token that ends a text, none that starts or fills one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)


@pytest.fixture
def saved(tmp_path, texts):
    """A function that writes a random model of a family with a tokenizer and gives its folder."""

    def make(name, added=()):
        folder = tmp_path / name
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **MODELS[name])).save_pretrained(folder)
        byte_level(folder, [prompt + target for prompt, target in texts], added)
        return folder

    return make


@pytest.mark.parametrize("name", MODELS)
def test_a_cell_of_any_family(name, saved, cell):
    made = cell(f"model=path:{saved(name)}", *FEW)
    run(made)
    record = json.loads((made.folder / "record.json").read_text())
    assert record["status"] == "complete"
    assert record["target_modules"] == ADAPTED.get(name, ["q_proj", "k_proj", "v_proj", "o_proj"])
    assert record["identity"]["variant"]["target_modules"] == made.config["variant"]["target_modules"]  # as given
    assert record["model"]["tokens"] == {"bos": None, "eos": [0], "pad": 0}
    assert record["training"]["trainable_parameters"] > 0


def test_the_embedded_models_record_says_nothing_of_it(cell):
    made = cell(*FEW)
    run(made)
    assert "target_modules" not in json.loads((made.folder / "record.json").read_text())


def test_a_bin_checkpoint_is_run(saved, cell):
    folder = saved("gpt2")
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    made = cell(f"model=path:{folder}", *FEW)
    run(made)
    (folder / "model.safetensors").unlink()
    of_bin = cell(f"model=path:{folder}", *FEW)
    assert of_bin.id != made.id  # other files
    run(of_bin)
    records = [json.loads((each.folder / "record.json").read_text()) for each in (made, of_bin)]
    assert records[0]["training"]["loss"] == records[1]["training"]["loss"]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_added_tokens_count_where_a_text_holds_them(saved, cell):
    """One with an embedding is learned; one without is refused, by name, before anything is trained."""
    few = [*FEW, "train_samples=4"][1:]
    run(cell(f"model=path:{saved('gpt2', ['<unused>'] * 1)}", *few))  # in no text
    folder = saved("gpt2", [f"<{i}>" for i in range(200)] + ["How many"])
    with pytest.raises(UserError, match=r"a text holds the token 'How many', id \d+, which .* adds to its tokenizer alone"):
        run(cell(f"model=path:{folder}", *few))


def test_a_folder_without_a_tokenizer_is_refused(saved, cell):
    folder = saved("gpt2")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="holds no tokenizer"):
        run(cell(f"model=path:{folder}", *FEW))
