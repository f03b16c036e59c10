"""The names of a cell's parts: none is empty, and none is what another choice is called."""

import re

import pytest

from lorabench.cells.checks import check
from lorabench.contributed import GIVEN
from lorabench.errors import UserError

OWN = {
    "mine": "defaults: [lora]\n_target_: lorabench.variants.lora.LoRA\nname: mine\n",
    "theirs": "_target_: somewhere.Theirs\nname: theirs\n",
    "bad": "{",
    "bytes": "",
    "list": "[a]",
}


def line_of(of_cell):
    """What is wrong with a cell, None where nothing is."""
    try:
        check(of_cell, resources=False)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("group", ["model", "task", "variant", "evaluator", "subset"])
def test_an_empty_name_is_refused(cell, group):
    assert re.match(rf"{group}\.name.* is (empty|blank); ", line_of(cell(f"{group}.name=")))


@pytest.mark.parametrize(
    ("group", "name"),
    [("variant", "pissa"), ("task", "math"), ("evaluator", "vllm"), ("subset", "first"), ("model", "qwen3-0.6b")],
)
def test_a_name_of_another_choice_is_refused(cell, group, name):
    line = f"{group}.name={name} is the name of another {group}; write {group}={name} for that one, or give this one a name of"
    assert line_of(cell(f"{group}.name={name}")).startswith(line)


def test_another_class_does_not_keep_the_name(cell):
    words = ["variant._target_=lorabench.variants.rslora.RsLoRA"]
    assert "variant.name=lora is the name of another variant" in line_of(cell(*words))
    assert line_of(cell(*words, "variant.name=mine")) is None


def test_another_shape_does_not_keep_the_name(cell):
    words = ["model.weights=random", "model.architecture.num_hidden_layers=1"]
    assert "model.name=tiny is the name of another model" in line_of(cell(*words))
    assert line_of(cell(*words, "model.name=mine")) is None


@pytest.mark.parametrize(
    ("words", "name", "there", "here"),
    [
        (["model=qwen3-0.6b", "model.hub=Other/Model"], "qwen3-0.6b", "Qwen/Qwen3-0.6B-Base", "Other/Model"),
        (["model.hub=Other/qwen3-0.6b", "model.package=null"], "qwen3-0.6b", "Qwen/Qwen3-0.6B-Base", "Other/qwen3-0.6b"),
        (["model.package=other"], "tiny", "lorabench/tiny/checkpoint", "other/tiny/checkpoint"),
        (["model.file=other"], "tiny", "lorabench/tiny/checkpoint", "lorabench/other"),
    ],
)
def test_weights_of_another_origin_do_not_keep_the_name(cell, words, name, there, here):
    words = [*words, f"model.revision={'0' * 40}"]
    line = f"model={name} has its weights from {there}, and these are from {here}; leave model={name} out, or say what these"
    assert line_of(cell(*words)).startswith(line)
    assert line_of(cell(*words, "model.name=mine")) is None


def test_another_revision_and_a_copy_keep_the_name(cell):
    assert line_of(cell("model=qwen3-0.6b", f"model.revision={'0' * 40}")) is None
    assert line_of(cell("model=qwen3-0.6b", "model.path=copy")).startswith("model.path=copy: no config.json in that folder")
    assert line_of(cell("model=qwen3-0.6b", "model.weights=random")) is None


def test_names_of_own_yamls_count_and_broken_ones_are_passed_over(cell, tmp_path, monkeypatch):
    (tmp_path / "variant").mkdir()
    for name, yaml in OWN.items():
        (tmp_path / "variant" / f"{name}.yaml").write_text(yaml)
    (tmp_path / "variant" / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    assert line_of(cell("variant.name=theirs")) is None
    monkeypatch.setenv(GIVEN, str(tmp_path))
    assert "variant.name=theirs is the name of another variant" in line_of(cell("variant.name=theirs"))
    assert line_of(cell("variant.name=mine")) is None


def test_a_name_of_ones_own_stays(cell):
    assert line_of(cell("variant.name=mine", "task.name=mine", "model.name=mine")) is None
