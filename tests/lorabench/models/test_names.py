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


@pytest.mark.parametrize("key", ["model.path", "model.hub", "model.name", "task.path"])
@pytest.mark.parametrize("blank", ["", "'  '"])
def test_a_blank_source_or_name_does_not_fall_through_to_another_model(cell, key, blank):
    task = ["task=math"] if key.startswith("task") else []
    with pytest.raises(UserError, match=f'^{key}="{blank.strip(chr(39))}" is blank; give a text') as raised:
        preflight([OmegaConf.create(cell(f"{key}={blank}", *task).config)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["path", "hub", "revision"])
def test_a_source_of_a_task_is_not_blank(cell, key):
    with pytest.raises(UserError, match=f'^task.train.{key}="" is blank'):
        _ = cell("task=math", f"++task.train.{key}=''").task


def test_a_folder_in_place_of_a_yamls_hub_id_is_all_that_the_record_names(cell, tmp_path):
    stated = {key: value for key, value in cell("model=qwen3-0.6b").model.architecture.items() if key != "rope_parameters"}
    (tmp_path / "any").mkdir()
    model = cell("model=qwen3-0.6b", f"model.path={tmp_path / 'any'}").recorded_config["model"]
    assert (model["name"], model["path"]) == ("qwen3-0.6b", str(tmp_path / "any"))
    assert [model[key] for key in ("hub", "revision", "package", "file")] == [None] * 4
    assert stated.items() <= model["architecture"].items()  # which the folder's config is checked against
    renamed = cell("model=qwen3-0.6b", f"model.path={tmp_path / 'any'}", "model.name=mine").recorded_config["model"]
    assert (renamed["name"], renamed["hub"], renamed["architecture"]) == ("mine", None, {})


@pytest.mark.parametrize("words", [[], ["model=qwen3-0.6b"], ["model.name=mine"]])
def test_a_folder_and_a_hub_id_together_are_refused(cell, copied, words):
    line = "has two sources, model.path=.* and model.hub=Some/Model; leave one of them out"
    with pytest.raises(UserError, match=line):
        cell(*words, f"model.path={copied('any')}", "model.hub=Some/Model", f"model.revision={'0' * 40}")


def own_yaml(folder, monkeypatch, **content):
    """A yaml of a user's own below ``--config-dir``; the model that Hydra composes of it."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "own.yaml").write_text(json.dumps(content))
    monkeypatch.setenv("LORABENCH_CONFIG_DIR", str(folder))
    return [f"hydra.searchpath=[file://{folder}]", "model=own"]


def test_a_yaml_of_ones_own_is_checked_against_its_folder(cell, copied, tmp_path, monkeypatch):
    folder = copied("any")
    shape = {"model_type": "llama", "hidden_size": 256}
    words = own_yaml(tmp_path / "conf", monkeypatch, name="my-llama", path=str(folder), architecture=shape)
    with pytest.raises(UserError, match=f"model=my-llama has hidden_size=256, but {folder} holds a model with hidden_size=128"):
        preflight([OmegaConf.create(cell(*words).config)])
    assert preflight([OmegaConf.create(cell(*words, "model.name=another").config)])
    own_yaml(tmp_path / "conf", monkeypatch, name="my-llama", path=str(folder), architecture=shape | {"hidden_size": 128})
    assert preflight([OmegaConf.create(cell(*words).config)])


def test_a_yaml_of_ones_own_has_one_source_and_a_folder_may_take_its_place(cell, copied, tmp_path, monkeypatch):
    folder = copied("any")
    words = own_yaml(tmp_path / "conf", monkeypatch, name="own", hub="Some/Model", revision="0" * 40)
    assert cell(*words, f"model.path={folder}").recorded_config["model"]["hub"] is None
    own_yaml(tmp_path / "conf", monkeypatch, name="own", hub="Some/Model", revision="0" * 40, path=str(folder))
    with pytest.raises(UserError, match="model=own has two sources"):
        cell(*words)


def test_a_snapshot_in_the_hubs_cache_is_called_by_its_model(cell, copied):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = copied("any")
    snapshots = folder.parent / "hub" / "models--Qwen--Qwen3-0.6B" / "snapshots"
    shutil.move(folder, snapshots / commit)
    assert cell(f"model.path={snapshots / commit}").model.name == "Qwen3-0.6B@01234567"
    assert cell(f"model.path={snapshots / commit}/").model.name == "Qwen3-0.6B@01234567"
    ordinary = shutil.copytree(CHECKPOINT, snapshots.parent / commit)
    assert cell(f"model.path={ordinary}").model.name == commit


def test_the_record_says_how_the_model_ran(cell, copied):
    from lorabench.cells.run import run

    made = cell(f"model.path={copied('mine')}", "train_samples=8", "task.test_samples=2", "task.validation_samples=2", "rank=2")
    run(made)
    model = made.record()["model"]
    assert model["name"] == "mine"
    assert model["attention"] == "grouped_sdpa"
    assert model["tokens"] == {"bos": None, "eos": [1], "pad": 0}
