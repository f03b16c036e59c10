"""DuDe: the start against PiSSA's, DoRA's and PEFT's, three steps of training, and the saved form."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.variants.base import adapter_layers

ALPHA = 12
SCALE = ALPHA / 8


def parts(layer):
    magnitude = layer.lora_magnitude_vector["default"].weight
    return [layer.lora_A["default"].weight, layer.lora_B["default"].weight, magnitude]


def weight(frozen, a, b, g):
    """DoRA's, its norm without a gradient."""
    direction = frozen + SCALE * b @ a
    return (g / direction.detach().norm(dim=1))[:, None] * direction


def test_three_steps_are_adamw_on_the_definition(build, follows):
    follows(build("dude", alpha=ALPHA), parts, weight)


@pytest.mark.parametrize("alpha", [8, ALPHA])
def test_it_starts_as_pissa_with_the_row_norms_of_the_whole_weight(alpha, fresh, build, attach):
    bases = [fresh("qwen3") for _ in range(3)]
    fields = {"iterations": None, "alpha": alpha}
    variant = build("dude", **fields)
    models = [attach(variant, bases[0]), attach(build("pissa", **fields), bases[1])]
    config = LoraConfig(
        r=8,
        lora_alpha=alpha,
        target_modules=variant.target_modules,
        init_lora_weights="pissa",
        use_dora=True,
        task_type="CAUSAL_LM",
    )
    ours, pissas, pefts = (dict(adapter_layers(model)) for model in (*models, get_peft_model(bases[2].model, config)))
    untouched = fresh("qwen3").model
    for name, layer in ours.items():
        a, b, g = parts(layer)
        assert torch.equal(a, pissas[name].lora_A["default"].weight) and torch.equal(b, pissas[name].lora_B["default"].weight)
        assert torch.equal(layer.get_base_layer().weight, pissas[name].get_base_layer().weight)
        before = untouched.get_parameter(f"{name}.weight").double().numpy()
        np.testing.assert_allclose(g.detach().numpy(), np.linalg.norm(before, axis=1), rtol=1e-5)
        torch.testing.assert_close(g, pefts[name].lora_magnitude_vector["default"].weight, rtol=1e-5, atol=1e-6)
        theirs = pefts[name].lora_B["default"].weight @ pefts[name].lora_A["default"].weight
        torch.testing.assert_close(b @ a, theirs, rtol=0, atol=1e-5)


def test_plain_peft_loads_it_as_dora_of_twice_the_rank(tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build("dude", alpha=ALPHA)
    model = attach(variant, base)
    shift(model)
    variant.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    config = loaded.peft_config["default"]
    assert (config.use_dora, config.r, config.lora_alpha) == (True, 16, 2 * ALPHA)
    for (_, layer), (_, other) in zip(adapter_layers(model), adapter_layers(loaded), strict=True):
        assert torch.equal(parts(layer)[2], parts(other)[2])
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


def test_wrong_iterations_are_refused_as_for_pissa(build, tiny):
    with pytest.raises(UserError, match=r"variant\.iterations=-1 must be at least 0"):
        build("dude", iterations=-1).check(linear_shapes(tiny.spec))
