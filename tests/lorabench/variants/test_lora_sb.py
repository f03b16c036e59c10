"""LoRA-SB: the frozen factors against the gradient's sign, R's start and three steps in float64, an interruption, the saved form."""

import numpy as np
import pytest
import torch
from peft import PeftModel

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training import seed
from lorabench.variants.base import adapter_layers

ALPHA = 12
SCALE = ALPHA / 8
SMALL = ["variant=lora_sb", "train_samples=64", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]


def parts(layer):
    first = layer.lora_A["default"]
    return [first.factor, first.mixer, layer.lora_B["default"].weight]


def weight(frozen, a, r, b):
    return frozen + SCALE * b @ r @ a


def full_step(base, samples, count):
    """−sign of each matrix's gradient, by plain autograd on the first samples as one batch."""
    names = [name for name, _ in base.model.named_parameters() if "_proj" in name]
    weights = [base.model.get_parameter(name).requires_grad_(True) for name in names]
    total, tokens = 0.0, 0
    for example in samples.corpus.encode(samples.indices[:count]):
        ids = torch.tensor([example.ids])
        logits = base.model(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
        tokens += example.target_tokens
    gradients = torch.autograd.grad(total / tokens, weights)
    return {name.removesuffix(".weight"): -gradient.sign().double() for name, gradient in zip(names, gradients, strict=True)}


def test_the_frozen_factors_are_the_leading_part_of_a_step_of_all_weights(fresh, build, calibration):
    base, other = fresh("tiny"), fresh("tiny")
    variant = build("lora_sb", samples=6)
    model = variant.attach(base.model, seed.generator(0, "init"), calibration(base))
    steps = full_step(other, calibration(other), 6)
    for name, layer in adapter_layers(model):
        a, r, b = (p.detach().double() for p in parts(layer))
        assert not r.any() and [p.requires_grad for p in parts(layer)] == [False, True, False]
        torch.testing.assert_close(a @ a.T, torch.eye(8).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(b.T @ b, torch.eye(8).double(), atol=1e-5, rtol=0)
        held, best = b.T @ steps[name] @ a.T, torch.linalg.svdvals(steps[name])[:8]
        assert 0.97 <= held.square().sum() / best.square().sum() <= 1 + 1e-6, name
        torch.testing.assert_close(held.diagonal(), variant._sigma[name].double(), rtol=0.02, atol=0)


def test_three_steps_begin_with_adamws_first_and_are_adamw_on_r(build, follows):
    sizes, begun = {}, []
    variant = build("lora_sb", alpha=ALPHA)
    attach = variant.attach

    def noted(*args):
        model = attach(*args)
        sizes.update(variant._sigma)
        return model

    variant.attach = noted

    def begin(rate, values):
        if rate and not begun:
            begun.append(rate)
            for name, (_, r, _) in values.items():
                r.data = torch.diag(rate * sizes[name].double() / SCALE)

    model = follows(variant, parts, weight, begin=begin)
    assert len(begun) == 1
    for _, layer in adapter_layers(model):
        assert np.linalg.matrix_rank(layer.lora_A["default"].mixer.detach().numpy()) == 8


@pytest.mark.parametrize("step", [1, 3])  # before R has its start, and after
def test_an_interrupted_run_goes_on_to_the_same_bits(cell, tmp_path, run_until, step):
    words = [*SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0", "trainer.warmup_ratio=0.2"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, step)
    run(broken)
    assert broken.record()["training"]["loss"] == whole.record()["training"]["loss"]
    for file in ("trained.safetensors", "adapter/adapter_model.safetensors"):
        assert (broken.folder / file).read_bytes() == (whole.folder / file).read_bytes()


def test_it_is_saved_as_plain_lora(tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build("lora_sb", alpha=ALPHA)
    model = attach(variant, base)
    shift(model, 0.3)
    variant.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert (loaded.peft_config["default"].r, loaded.peft_config["default"].lora_alpha) == (8, ALPHA)
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


def test_without_samples_or_a_gradient_it_says_so(build, tiny, fresh, calibration):
    with pytest.raises(UserError, match=r"variant\.samples=0 must be at least 1"):
        build("lora_sb", samples=0).check(linear_shapes(tiny.spec))
    base = fresh("llama")
    with torch.no_grad():
        base.model.get_parameter("model.layers.1.mlp.up_proj.weight").zero_()
        base.model.get_parameter("model.layers.1.mlp.gate_proj.weight").zero_()
    with pytest.raises(UserError, match=r"variant=lora_sb: the gradient of .* use more samples") as error:
        build("lora_sb").attach(base.model, seed.generator(0, "init"), calibration(base))
    assert "\n" not in str(error.value)
