"""Which blocks are measured: a study and a probe choose alike, and refuse with the same words."""

import pytest
from small_models import CONF, study_of

from hessian.along import Along
from hessian.blocks import choose, places_of
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.schema import ModelConfig
from lorabench.variants.lora import LoRA

TINY = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")
MODEL = places_of(f"model.layers.{layer}.self_attn.{matrix}" for layer in range(3) for matrix in ("q_proj", "v_proj"))


def named(*matrices):
    return [place.name for place in MODEL if place.matrix in matrices]


def probe(**changed):
    settings = {"matrices": ["q_proj"], "layers": None, "tol": 1e-2, "max_iter": 100, "memory_gb": 1.0, "attention": "math"}
    return Along(name="hessian", every=1, samples=4, **settings | changed)


def on_command_line(value):
    """As on a command line."""
    return "null" if value is None else str(value).replace("'", "").replace(" ", "")


@pytest.fixture
def refusals(tmp_path):
    """What a study and a probe say of matrices and layers, where the variant adapts q_proj and v_proj alone."""
    (tmp_path / "variant").mkdir()
    text = (CONF / "variant" / "lora.yaml").read_text().replace("name: lora", "name: narrow")
    (tmp_path / "variant" / "narrow.yaml").write_text(text.split("target_modules")[0] + "target_modules: [q_proj, v_proj]\n")
    names = list(linear_shapes(TINY))
    variant = LoRA(name="narrow", rank=2, alpha=2, dropout=0.0, target_modules=["q_proj", "v_proj"])

    def say(matrices, layers):
        words = ["variants=[narrow]", "samples=4", f"matrices={on_command_line(matrices)}", f"layers={on_command_line(layers)}"]
        with pytest.raises(UserError) as of_study:
            study_of(tmp_path, *words, searchpath=[f"file://{tmp_path}"])
        with pytest.raises(UserError) as of_probe:
            probe(matrices=matrices, layers=layers).check(variant, names, "float32")
        return str(of_study.value), str(of_probe.value)

    return say


@pytest.mark.parametrize(
    ("matrices", "layers", "line"),
    [
        (["qproj"], None, "{}matrices: the model has no linear layer 'qproj'; did you mean 'q_proj'?"),
        ("all_of_them", None, "{}matrices: the model has no linear layer 'all_of_them'; available: "),
        (3, None, "{}matrices: the model has no linear layer '3'; available: "),
        (["q_proj", "k_proj"], None, "{}matrices: no adapter on 'k_proj'; available: q_proj, v_proj"),
        ([], None, "{}matrices=[] and {}layers=None name no block; leave them out for all"),
        ("q_proj", [0, 4], "{}layers: the model has no layer 4; available: 0 … 3, all"),
        ("q_proj", -1, "{}layers: the model has no layer -1; available: 0 … 3, all"),
        ("q_proj", "first", "{}layers: the model has no layer first; available: 0 … 3, all"),
        ("q_proj", [], "{}matrices=q_proj and {}layers=[] name no block; leave them out for all"),
    ],
)
def test_what_is_not_there_is_refused_with_the_same_words(refusals, matrices, layers, line):
    of_study, of_probe = refusals(matrices, layers)
    assert of_study.startswith(line.format("", ""))
    assert of_probe.startswith(line.format("probe.", "probe."))
    assert of_study == of_probe.replace("probe.", "")
    assert "\n" not in of_study


@pytest.mark.parametrize("everything", ["all", None])
def test_all_is_what_is_adapted(everything):
    assert choose(MODEL, named("q_proj", "up_proj"), everything, everything) == MODEL[::2]


def test_a_name_and_a_number_need_no_list():
    assert (
        choose(MODEL, named("q_proj", "v_proj"), "v_proj", 2) == [MODEL[5]] == choose(MODEL, named("v_proj"), ["v_proj"], [2])
    )


def test_the_order_is_the_models():
    assert choose(MODEL, named("q_proj", "v_proj"), ["v_proj", "q_proj"], [2, 0]) == [*MODEL[:2], *MODEL[4:]]


def test_layers_without_an_adapter_are_left_out_or_refused_by_number():
    adapted = [place.name for place in MODEL if place.layer != 1]
    assert choose(MODEL, adapted, "v_proj", "all") == [MODEL[1], MODEL[5]]
    for layers in (1, [0, 1]):
        with pytest.raises(UserError, match=r"probe\.layers: no adapter in layer 1; leave it out"):
            choose(MODEL, adapted, "v_proj", layers, "probe.")


def test_what_lies_in_no_decoder_layer_is_no_block():
    assert places_of(["lm_head", "model.vision.blocks.0.q_proj"]) == []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("max_iter", 0, "max_iter=0 must be a whole number of at least 1"),
        ("tol", 0.0, "tol=0.0 must be greater than 0"),
        ("memory_gb", -1.0, "memory_gb=-1.0 must be greater than 0"),
        ("attention", "flash", "attention=flash has no second derivative (fused kernels have none); available: math, eager"),
    ],
)
def test_settings_are_refused_with_the_same_words(tmp_path, key, value, line):
    with pytest.raises(UserError) as of_study:
        study_of(tmp_path, "samples=4", f"hessian.{key}={value}")
    with pytest.raises(UserError) as of_probe:
        probe(**{key: value})
    assert str(of_study.value) == f"hessian.{line}"
    assert str(of_probe.value) == f"probe.{line}"
