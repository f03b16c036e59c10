"""A model goes by the name of its weights."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from lorabench.cells.plan import preflight
from lorabench.errors import UserError
from lorabench.schema import PACKAGE

CHECKPOINT = PACKAGE / "tiny" / "checkpoint"


@pytest.fixture
def copied(tmp_path):
    """A function from a name to a copy of the embedded checkpoint in a folder of that name."""
    return lambda name: shutil.copytree(CHECKPOINT, tmp_path / name)


def test_a_folder_alone_is_called_by_its_name(cell, copied):
    folder = copied("my-llama")
    made = cell(f"model.path={folder}")
    assert made.model.name == made.recorded_config["model"]["name"] == "my-llama"
    assert str(made).startswith("my-llama arithmetic")
    assert made.model.package is None
    assert made.id == cell().id  # the same content; a name only shows
    assert cell(f"model.path={folder}/").model.name == "my-llama"
    assert cell(f"model.path={folder}", "model.name=given").model.name == "given"
    assert cell().model.name == "tiny"


def test_a_hub_id_alone_is_called_by_its_name(cell):
    made = cell("model.hub=Qwen/Qwen3-0.6B-Base", f"model.revision={'0' * 40}")
    assert made.model.name == "Qwen3-0.6B-Base"
    assert made.identity["model"]["fingerprint"] == f"Qwen/Qwen3-0.6B-Base@{'0' * 40}"
    assert (made.model.package, made.model.architecture) == (None, {})


@pytest.mark.parametrize("by", ["yaml", "folder"])
def test_a_name_that_stands_for_another_architecture_is_refused(cell, copied, by):
    folder = copied("qwen3-0.6b")
    words = [f"model.path={folder}", *(["model=qwen3-0.6b"] if by == "yaml" else [])]
    line = f"model=qwen3-0.6b has model_type=qwen3, but {folder} holds a model with model_type=llama; .* model.name=NAME"
    with pytest.raises(UserError, match=line) as raised:
        preflight([OmegaConf.create(cell(*words).config)])
    assert "\n" not in str(raised.value)
    given = cell(*words, "model.name=mine")
    assert preflight([OmegaConf.create(given.config)])
    assert given.model.name == "mine"


def test_sizes_count_and_a_longer_context_does_not(cell, copied):
    """SmolLM2's name on a llama of other sizes, and on one of its sizes that takes longer texts."""
    folder = copied("any")
    with pytest.raises(
        UserError, match=r"model=smollm2-135m has hidden_size=576, but .*any holds a model with hidden_size=128"
    ):
        preflight([OmegaConf.create(cell("model=smollm2-135m", f"model.path={folder}").config)])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    shutil.move(folder, folder.with_name("tiny"))
    assert preflight([OmegaConf.create(cell(f"model.path={folder.with_name('tiny')}").config)])


def test_a_package_of_another_shape_than_its_yaml_is_refused(cell):
    with pytest.raises(
        UserError, match="model=tiny has num_hidden_layers=3, but lorabench holds a model with num_hidden_layers=4"
    ):
        preflight([OmegaConf.create(cell("model.architecture.num_hidden_layers=3").config)])


def test_the_record_says_how_the_model_ran(cell, copied):
    from lorabench.cells.run import run

    made = cell(f"model.path={copied('mine')}", "train_samples=8", "task.test_samples=2", "task.validation_samples=2", "rank=2")
    run(made)
    model = made.record()["model"]
    assert model["name"] == "mine"
    assert model["attention"] == "grouped_sdpa"
    assert model["tokens"] == {"bos": None, "eos": [1], "pad": 0}
