"""SineLoRA against its formula: three steps of training, the size of its rank, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file

from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.variants.base import adapter_layers

ALPHA, FREQUENCY = 12, 300


def factors(layer):
    return [layer.lora_A["default"].weight, layer.lora_B["default"].weight]


def weight(frozen, a, b):
    """Written from the paper's eq. of sin(ω·UVᵀ)/g with g = √n, times LoRA's scale."""
    update = torch.empty_like(frozen)
    for row in range(len(b)):  # row by row: no product of whole matrices
        update[row] = torch.sin(FREQUENCY * (b[row, :, None] * a).sum(0)) / frozen.shape[1] ** 0.5
    return frozen + ALPHA / 8 * update


def test_three_steps_are_adamw_on_the_papers_formula(build, follows):
    follows(build("sinelora", alpha=ALPHA, frequency=FREQUENCY), factors, weight, lr=2e-3)


def test_the_update_has_a_rank_far_above_that_of_its_factors(fresh, build, attach, shift):
    base = fresh("llama")
    variant = build("sinelora", rank=2, frequency=2000.0)
    model = attach(variant, base)
    shift(model)
    before = {name: p.clone() for name, p in fresh("llama").model.named_parameters()}
    for name, merged in variant.merged(model).items():
        assert torch.linalg.matrix_rank((merged - before[name]).double(), rtol=1e-3) > 10, name


def test_near_zero_it_is_lora_of_a_larger_scale(fresh, build, attach, shift, logits, relative):
    bases = fresh("tiny"), fresh("tiny")
    models = attach(build("sinelora", frequency=1e-2), bases[0]), attach(build("lora", alpha=8 * 1e-2), bases[1])
    for model in models:
        shift(model)
    for _, layer in adapter_layers(models[1]):
        layer.scaling["default"] /= layer.in_features**0.5
    assert relative(logits(bases[0], models[0]), logits(bases[1], models[1])) <= 1e-6


def test_it_is_saved_as_merged_weights(tmp_path, fresh, build, attach, shift, capsys):
    base = fresh("llama")
    variant = build("sinelora")
    model = attach(variant, base)
    shift(model)
    variant.save(model, tmp_path)
    saved = load_file(tmp_path / "merged.safetensors")
    merged = variant.merged(model)
    assert saved.keys() == merged.keys() and all(torch.equal(saved[name], merged[name]) for name in saved)
    assert "which no PEFT adapter holds" in capsys.readouterr().err


@pytest.mark.parametrize("frequency", [0.0, -1.0, float("inf"), float("nan")])
def test_a_frequency_that_is_not_positive_is_refused(frequency, build, tiny):
    with pytest.raises(UserError, match=r"variant\.frequency=.* must be positive") as error:
        build("sinelora", frequency=frequency).check(linear_shapes(tiny.spec))
    assert "\n" not in str(error.value)
