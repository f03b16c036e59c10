"""EVA: A against numpy's SVD of all inputs stacked, and against PEFT's initialisation."""

import itertools

import numpy as np
import pytest
import torch
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights

from lorabench.errors import UserError
from lorabench.training import seed
from lorabench.training.data import collate
from lorabench.variants.base import adapter_layers
from lorabench.variants.eva import EVA

RANK = 8


def started(variant, base, samples):
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    return {name: layer.lora_A["default"].weight.detach().numpy() for name, layer in adapter_layers(adapted)}


def span(rows):
    """The projection on the span of orthonormal rows, which no sign changes."""
    return rows.T @ rows


@pytest.mark.parametrize("model", ["tiny", "qwen3"])
@pytest.mark.parametrize("budget", [2**30, 1])
def test_start_is_the_svd_of_the_stacked_inputs(model, budget, fresh, build, calibration, layer_inputs):
    base, samples = fresh(model), calibration(fresh(model), budget=budget)
    samples.settings.micro_batch_tokens = 150  # several micro-batches, with padding
    variant = build("eva")
    names = variant.targets(name for name, _ in base.model.named_modules())
    before = {name: base.model.get_parameter(f"{name}.weight").clone() for name in names}
    expected = layer_inputs(base, samples, names)
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    for name, layer in adapter_layers(adapted):
        x = np.concatenate(expected[name])
        _, sigma, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        a = layer.lora_A["default"].weight.detach().numpy()
        np.testing.assert_allclose(a @ a.T, np.eye(RANK), atol=1e-5)
        gap = (sigma[RANK - 1] - sigma[RANK]) / sigma[0]
        np.testing.assert_allclose(span(a), span(vt[:RANK]), atol=1e-5 / gap, err_msg=name)
        assert not layer.lora_B["default"].weight.any()
        assert torch.equal(layer.get_base_layer().weight, before[name])
    assert not variant.initial


def test_fewer_samples_give_another_start(fresh, build, calibration):
    eight, sixteen, all_there_are, more = (
        started(build("eva", samples=count), fresh("llama"), calibration(fresh("llama"))) for count in (8, 16, 32, 256)
    )
    name = next(iter(eight))
    assert not np.allclose(span(eight[name]), span(sixteen[name]), atol=1e-3)
    assert all(np.array_equal(all_there_are[name], more[name]) for name in more)


def test_peft_starts_alike(fresh, build, calibration):
    """One minibatch of all samples, ρ = 1, all tokens but padding."""
    ours, theirs = fresh("qwen3"), fresh("qwen3")
    samples, variant = calibration(ours), build("eva")
    ids, mask, _ = collate(samples.corpus.encode(samples.indices), ours.tokenizer.pad_token_id, ours.device)
    config = LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        target_modules=variant.target_modules,
        init_lora_weights="eva",
        eva_config=EvaConfig(rho=1.0),
        task_type="CAUSAL_LM",
    )
    reference = get_peft_model(theirs.model, config)
    initialize_lora_eva_weights(reference, [{"input_ids": ids, "attention_mask": mask}], show_progress_bar=False)
    expected = {name: layer.lora_A["default"].weight.detach().numpy() for name, layer in adapter_layers(reference)}
    inputs = started(variant, ours, samples)
    assert inputs.keys() == expected.keys()
    for name, a in inputs.items():
        # PEFT's are of a randomised SVD: the leading directions agree, the last ones where the spectrum has a gap.
        np.testing.assert_allclose(np.abs(np.sum(a[:3] * expected[name][:3], axis=1)), 1, atol=0.02, err_msg=name)
        assert np.trace(span(a) @ span(expected[name])) >= 0.95 * RANK, name


class HalfOfTheStarts(EVA):
    def starts(self, model, names, calibration):
        return itertools.islice(super().starts(model, names, calibration), 1)


def test_a_start_that_is_missing_is_one_line(fresh, attach, build):
    variant = HalfOfTheStarts(**{key: value for key, value in vars(build("eva")).items() if key not in ("initial", "_starts")})
    with pytest.raises(UserError, match=r"variant=eva: its starts\(\) yields nothing for model\.layers\.0\.\S+$"):
        attach(variant, fresh("llama"))
