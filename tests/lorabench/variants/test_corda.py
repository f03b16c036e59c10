"""CorDA: the factors against the formulas in float64 by numpy, and against PEFT's preprocessing."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda

from lorabench.errors import UserError
from lorabench.training import seed
from lorabench.variants.base import adapter_layers

RANK, ALPHA = 8, 12
SCALE = ALPHA / RANK
PARTS = {"ipm": slice(None, RANK), "kpm": slice(-RANK, None)}


def double(tensor):
    return tensor.detach().double().numpy()


def factors(layer):
    return double(layer.lora_A["default"].weight), double(layer.lora_B["default"].weight)


def covariance(inputs, damping=0.01):
    """Mean of XᵀX over the samples, each divided by its largest entry, damped."""
    c = sum((x / x.max()).T @ (x / x.max()) for x in inputs) / len(inputs)
    return c + damping * np.diag(c).mean() * np.eye(len(c))


@pytest.mark.parametrize("mode", PARTS)
@pytest.mark.parametrize("model", ["tiny", "qwen3"])
def test_start(model, mode, fresh, build, calibration, layer_inputs):
    base, samples = fresh(model), calibration(fresh(model))
    samples.settings.micro_batch_tokens = 150  # several micro-batches, with padding
    variant = build("corda", alpha=ALPHA, mode=mode)
    names = variant.targets(name for name, _ in base.model.named_modules())
    weights = {name: double(base.model.get_parameter(f"{name}.weight")) for name in names}
    inputs = layer_inputs(base, samples, names)
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    for name, layer in adapter_layers(adapted):
        c, weight, part = covariance(inputs[name]), weights[name], PARTS[mode]
        u, sigma, vt = np.linalg.svd(weight @ c, full_matrices=False)
        a, b = factors(layer)
        part_of_weight = u[:, part] * sigma[part] @ vt[part] @ np.linalg.inv(c)
        np.testing.assert_allclose(part_of_weight, u[:, part] @ u[:, part].T @ weight, atol=1e-9)  # a projection of W
        scale = np.abs(weight).max()
        np.testing.assert_allclose(SCALE * b @ a, part_of_weight, atol=2e-3 * scale, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(b, axis=0), np.sqrt(sigma[part] / SCALE), rtol=1e-3, err_msg=name)
        assert np.allclose(np.abs(np.sum(b * u[:, part], axis=0)), np.sqrt(sigma[part] / SCALE), rtol=1e-2)
        np.testing.assert_allclose(double(layer.get_base_layer().weight), weight - SCALE * b @ a, atol=1e-6 * scale)


@pytest.mark.parametrize("mode", PARTS)
def test_peft_starts_alike(mode, fresh, build, calibration):
    ours, theirs = fresh("qwen3"), fresh("qwen3")
    samples, variant = calibration(ours), build("corda", alpha=ALPHA, mode=mode)

    def run_model():
        for example in samples.corpus.encode(samples.indices):
            theirs.model(input_ids=torch.tensor([example.ids]))

    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=variant.target_modules,
        init_lora_weights="corda",
        corda_config=CordaConfig(corda_method=mode),
        task_type="CAUSAL_LM",
    )
    preprocess_corda(theirs.model, config, run_model=run_model)
    reference = dict(adapter_layers(get_peft_model(theirs.model, config)))
    adapted = variant.attach(ours.model, seed.generator(0, "init"), samples)
    for name, layer in adapter_layers(adapted):
        (a, b), (expected_a, expected_b) = factors(layer), factors(reference[name])
        scale = np.abs(expected_b @ expected_a).max()
        np.testing.assert_allclose(b @ a, expected_b @ expected_a, atol=5e-3 * scale, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(b, axis=0), np.linalg.norm(expected_b, axis=0), rtol=1e-2, err_msg=name)
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(expected_a, axis=1), rtol=1e-2, err_msg=name)


def test_what_stays_frozen_lacks_the_outputs_of_the_task(fresh, build, calibration, layer_inputs):
    """ipm takes more of the outputs on the samples than as many of the largest singular triples of W do."""
    base, samples = fresh("tiny"), calibration(fresh("tiny"))
    names = build("corda").targets(name for name, _ in base.model.named_modules())
    weights = {name: double(base.model.get_parameter(f"{name}.weight")) for name in names}
    inputs = layer_inputs(base, samples, names)
    left = {}
    for method in ("corda", "pissa"):
        adapted = build(method).attach(base.model, seed.generator(0, "init"), samples)
        frozen = {name: double(layer.get_base_layer().weight) for name, layer in adapter_layers(adapted)}
        left[method] = [np.linalg.norm(np.concatenate(inputs[name]) @ frozen[name].T) for name in names]
        adapted.unload()
        for name in names:
            base.model.get_parameter(f"{name}.weight").data.copy_(torch.from_numpy(weights[name]))
    assert np.mean(np.array(left["corda"]) < np.array(left["pissa"])) > 0.9


def test_inputs_without_a_finite_covariance_are_refused(fresh, build, calibration):
    base = fresh("llama")
    base.model.model.layers[0].input_layernorm.weight.data.zero_()
    with pytest.raises(UserError, match=r"the inputs of model.layers.0.self_attn.q_proj on the samples have no finite"):
        build("corda").attach(base.model, seed.generator(0, "init"), calibration(base))
