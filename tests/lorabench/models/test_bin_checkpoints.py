"""Weights as ``.bin``, which are pickles, and in several files: the same model, and nothing but tensors is read."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from lorabench.errors import UserError
from lorabench.models.fingerprint import fingerprint
from lorabench.models.load import check_checkpoint, load
from lorabench.schema import PACKAGE, ModelConfig

CHECKPOINT = PACKAGE / "tiny" / "checkpoint"
CPU = torch.device("cpu")
QUERY, HEAD = "model.layers.1.self_attn.q_proj.weight", "lm_head.weight"


def spec_of(folder):
    return ModelConfig(name="mine", path=str(folder), dtype="float32")


def single(folder, state):
    torch.save(state, folder / "pytorch_model.bin")


def several(folder, state):
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, of_file in shards.items():
        torch.save({name: state[name] for name in of_file}, folder / file)
    weight_map = {name: file for file, of_file in shards.items() for name in of_file}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def old(folder, state):
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


@pytest.fixture
def folder(tmp_path):
    """The embedded checkpoint without its weights, and they."""
    copied = shutil.copytree(CHECKPOINT, tmp_path / "mine")
    state = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    return copied, state


@pytest.mark.parametrize("write", [single, several, old])
def test_a_bin_checkpoint_is_the_same_model(write, folder, same_values):
    copied, state = folder
    write(copied, state)
    assert same_values(load(spec_of(copied), CPU, torch.float32).model)
    before = fingerprint(spec_of(copied))
    write(copied, state | {QUERY: state[QUERY] + 1})
    assert fingerprint(spec_of(copied)) != before


def test_shards_of_safetensors_are_the_same_model(folder, same_values):
    copied, _ = folder
    AutoModelForCausalLM.from_pretrained(CHECKPOINT).save_pretrained(copied, max_shard_size="1MB")
    assert len(list(copied.glob("model-*.safetensors"))) > 1
    assert same_values(load(spec_of(copied), CPU, torch.float32).model)


def test_safetensors_are_taken_before_a_bin(folder, same_values):
    copied, state = folder
    single(copied, state | {QUERY: state[QUERY] + 1})
    shutil.copy(CHECKPOINT / "model.safetensors", copied)
    assert same_values(load(spec_of(copied), CPU, torch.float32).model)


@pytest.fixture
def same_values():
    """Whether a model has the embedded one's values."""
    expected = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).state_dict()

    def compare(model):
        state = model.state_dict()
        return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)

    return compare


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


FAULTS = {
    "code": (lambda d, s: single(d, s | {"x": Runs(d / "called")}), "cannot be read as tensors alone (UnpicklingError"),
    "objects": (lambda d, s: single(d, {"model": s}), "holds other things than tensors by name"),
    "lfs": (
        lambda d, _: (d / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "pointer of Git LFS",
    ),
    "shape": (lambda d, s: single(d, s | {QUERY: s[QUERY][:64]}), f"{QUERY} is 64 x 128, but config.json makes it 128 x 128"),
    "int8": (lambda d, s: single(d, s | {QUERY: s[QUERY].to(torch.int8)}), f"{QUERY} is stored as torch.int8, so quantised"),
    "lost": (lambda d, s: (several(d, s), (d / "pytorch_model-00002-of-00002.bin").unlink()), "lacks 1 of the 2 files"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_file_of_tensors_is_refused_before_it_is_loaded(fault, folder):
    copied, state = folder
    make, line = FAULTS[fault]
    make(copied, state)
    with pytest.raises(UserError) as raised:
        check_checkpoint(spec_of(copied))
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (copied / "called").exists()


def test_a_truncated_bin_is_refused(folder):
    copied, state = folder
    single(copied, state)
    whole = (copied / "pytorch_model.bin").read_bytes()
    (copied / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read as tensors alone"):
        check_checkpoint(spec_of(copied))


@pytest.mark.parametrize("write", [single, several])
def test_a_head_that_differs_from_the_embedding_it_is_tied_to_is_refused(write, folder):
    copied, state = folder
    embedding = state["model.embed_tokens.weight"]
    write(copied, state | {HEAD: embedding.clone()})  # as older versions of transformers wrote both
    assert load(spec_of(copied), CPU, torch.float32).model.get_output_embeddings() is not None
    write(copied, state | {HEAD: embedding + 1})
    with pytest.raises(UserError, match=r"lm_head\.weight differs from model\.embed_tokens\.weight"):
        load(spec_of(copied), CPU, torch.float32)


def test_transformers_reads_tensors_alone_too(folder, monkeypatch):
    copied, state = folder
    single(copied, state)
    given, of_transformers = [], AutoModelForCausalLM.from_pretrained

    def noted(*args, **settings):
        given.append(settings)
        return of_transformers(*args, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noted)
    load(spec_of(copied), CPU, torch.float32)
    assert [(each["weights_only"], each["trust_remote_code"], each["local_files_only"]) for each in given] == [
        (True, False, True)
    ]
