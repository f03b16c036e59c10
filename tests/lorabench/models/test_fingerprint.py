"""What identifies a model: all that can change a result, and nothing else."""

import json
import shutil

import pytest

from lorabench.errors import UserError
from lorabench.models.fingerprint import fingerprint, fingerprint_of_schema_1
from lorabench.models.locate import check
from lorabench.schema import PACKAGE, ModelConfig

CHECKPOINT = PACKAGE / "tiny" / "checkpoint"
TINY = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint")
DECIDING = (
    *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja"),
    *("additional_chat_templates/tool.jinja", "tokenizer.tiktoken", "qwen.tiktoken", "tekken.json"),
)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(CHECKPOINT, tmp_path / "copy")


def of(folder) -> str:
    return fingerprint(ModelConfig(name="copy", path=str(folder)))


@pytest.mark.parametrize("name", DECIDING)
def test_every_file_that_shapes_weights_or_tokens_counts(folder, name):
    before = of(folder)
    assert before == fingerprint(TINY)  # content, not place
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    with file.open("ab") as stream:
        stream.write(b" ")
    assert of(folder) != before


def test_another_end_token_is_another_model(folder):
    before = of(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|pad|>"}))
    assert of(folder) != before


def test_of_the_generation_config_the_ends_count_alone(folder):
    before, file = of(folder), folder / "generation_config.json"
    (folder / "README.md").write_text("A model.")
    (folder / "training_args.bin").write_bytes(b"1")
    for changed in ({"repetition_penalty": 1.1}, {"transformers_version": "9"}, {"eos_token_id": [1]}):
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
        assert of(folder) == before
    file.write_text(json.dumps({"eos_token_id": [1, 5]}))
    assert of(folder) != before


def test_every_shard_and_the_index_count(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    seen = {of(folder)}
    files = [*folder.glob("model-*.safetensors"), folder / "model.safetensors.index.json"]
    for file in files:
        with file.open("ab") as stream:
            stream.write(b" ")
        seen.add(of(folder))
    assert len(seen) == len(files) + 1 > 4


def test_random_weights_are_told_apart_by_their_shape_and_tokenizer(folder, monkeypatch):
    small, large = (ModelConfig(name="q", weights="random", architecture={"hidden_size": size}) for size in (32, 64))
    before = fingerprint(small)
    assert before.startswith("random:")
    assert before != fingerprint(large)
    (folder / "tokenizer_config.json").write_text("{}")
    tokenizer = ModelConfig(name="copy", path=str(folder))
    monkeypatch.setattr("lorabench.models.fingerprint.TOKENIZER_OF_RANDOM", tokenizer)
    assert fingerprint(small) != before


def test_the_fingerprint_of_schema_1_is_as_it_was(folder):
    assert fingerprint_of_schema_1(TINY) == "sha256:9b4d2c1953a5e8ba3a15e87909b046cd31926efb8eac6b4ee41b2b67dc888d86"
    (folder / "chat_template.jinja").write_text("x")
    assert fingerprint_of_schema_1(ModelConfig(name="copy", path=str(folder))) == fingerprint_of_schema_1(TINY)


@pytest.mark.parametrize("revision", ["main", "v1.0", "da87bfb6", None])
def test_a_revision_that_may_move_is_refused(revision):
    line = "needs model.revision=COMMIT" if revision is None else f"model.revision={revision} is no full commit"
    with pytest.raises(UserError, match=line):
        check(ModelConfig(name="x", hub="a/b", revision=revision))
    check(ModelConfig(name="x", hub="a/b", revision="0123456789" * 4))


def test_two_sources_are_refused_where_either_could_be_meant(folder):
    """Of a package and a hub id one was loaded and the other was recorded."""
    commit = "0123456789" * 4
    with pytest.raises(UserError, match=r"names both a package \(p\) and a hub id \(a/b\)"):
        check(ModelConfig(name="x", package="p", file="f", hub="a/b", revision=commit))
    with pytest.raises(UserError, match=r"model.weights=random takes none"):
        check(ModelConfig(name="x", weights="random", path=str(folder), architecture={"model_type": "llama"}))
