"""Where weights are looked for, and what identifies them."""

from pathlib import Path

import pytest

from lorabench.errors import UserError
from lorabench.models.fingerprint import fingerprint
from lorabench.models.locate import locate
from lorabench.schema import PACKAGE, ModelConfig

CHECKPOINT = PACKAGE / "tiny" / "checkpoint"


def test_a_folder_comes_before_hub_and_package():
    spec = ModelConfig(name="x", hub="a/b", revision="0123", package="nothing", file="f", path=str(CHECKPOINT))
    assert locate(spec) == Path(CHECKPOINT)
    assert fingerprint(spec).startswith("sha256:")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelConfig(name="x", path="/nowhere"), "no config.json in that folder"),
        (
            ModelConfig(name="x", package="no_such_package", file="f"),
            "is not installed; run .* or give model.path=DIR, or model.weights",
        ),
        (
            ModelConfig(name="x", hub="Qwen/Qwen3-0.6B-Base", revision="da87bfb6"),
            "go online .* and log in .* model.path=DIR, or model.w",
        ),
        (ModelConfig(name="x"), "names no source"),
    ],
)
def test_missing_weights_name_the_ways_to_provide_them(spec, message):
    with pytest.raises(UserError, match=message) as raised:
        locate(spec)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("held", [["model.safetensors"], ["pytorch_model.bin"]])
def test_every_request_to_the_hub_is_for_the_commit(held, tmp_path, monkeypatch):
    import huggingface_hub

    requests = []

    def snapshot(hub, **arguments):
        requests.append((hub, arguments))
        for name in held:
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert locate(ModelConfig(name="x", hub="owner/name", revision=commit), download=False) == tmp_path
    assert {hub for hub, _ in requests} == {"owner/name"}
    assert {(arguments["revision"], arguments["local_files_only"]) for _, arguments in requests} == {(commit, True)}
    wants_bin = ["pytorch_model*.bin" in arguments["allow_patterns"] for _, arguments in requests]
    assert wants_bin == ([False] if held[0].endswith("safetensors") else [False, True])  # pickles where there is nothing else
