"""Merging on a quantised base: the weights that its bits stand for plus the adapter's update, as plain floats."""

import copy
import importlib.util

import pytest
import torch
from safetensors.torch import load_file

from lorabench.models.load import load
from lorabench.models.shapes import linear_layers
from lorabench.schema import ModelConfig

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed (pip install -e '.[quantised]')"
)
KINDS = ["nf4", "int8"]
NAMES = ["lora", "rslora", "loraplus", "lora_fa", "lora_pro", "loft", "adalora", "gralora", "randlora", "vera", "moslora"]
NAMES += ["melora", "mora", "sinelora", "sharelora", "tied_lora", "rasa"]
LLAMA = {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "num_key_value_heads": 2}
TOLERANCE = {"nf4": 1e-5, "int8": 0.1}
"""Of logits, by their norm. int8 rounds the inputs of each of 14 or 28 layers to 1/254 of the token's largest magnitude, about
one percent of their norm each; nf4 differs in the order of sums alone."""


def loaded(kind, random, dtype="float32"):
    spec = ModelConfig(name="llama", weights="random", architecture=LLAMA, dtype=dtype, quantization=kind)
    if not random:
        spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype=dtype, quantization=kind)
    return load(spec, torch.device("cpu"), getattr(torch, dtype))


def logits(model):
    ids = torch.randint(3, 500, (4, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(ids).logits.float()


def distance(a, b):
    return float((a - b).norm() / b.norm())


def attached(variant, model):
    """With an update that is not zero, the same on any base."""
    adapted = variant.attach(model, torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, p in sorted(variant.train_only(adapted).items()):
            p.add_(0.05 * torch.randn(p.shape, generator=draws))
    return adapted.eval()


def plain(base, random, dtype="float32"):
    """A model of floats with what the base's bits stand for."""
    made = loaded(None, random, dtype)
    made.assign(base.weights())
    return made


@pytest.mark.parametrize("random", [True, False], ids=["random", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_merged_weights_compute_what_the_adapted_base_does(name, kind, random, cell):
    variant = cell(f"variant={name}", "rank=4").variant
    base = loaded(kind, random)
    own, before = plain(base, random), logits(base.model)
    adapted = attached(variant, base.model)
    wanted = logits(adapted)
    assert distance(wanted, before) > 3e-3
    merged = variant.merged(adapted)
    assert merged.keys() == {f"{module}.weight" for module in linear_layers(own.model)}
    assert torch.equal(logits(adapted), wanted)  # left as it was
    floats = attached(variant, copy.deepcopy(own.model))  # the same adapter on the floats
    for key, weight in variant.merged(floats).items():
        assert torch.allclose(merged[key], weight, atol=1e-6), key
    own.assign(merged)
    assert distance(logits(own.model), wanted) < TOLERANCE[kind]
    variant.detach(adapted)
    assert torch.equal(logits(base.model), before)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_without_an_adapter_are_dequantised_too(kind, cell):
    variant = cell("variant=lora", "variant.target_modules=[q_proj]").variant
    base = loaded(kind, True)
    own = plain(base, True)
    adapted = attached(variant, base.model)
    merged = variant.merged(adapted)
    assert merged.keys() == {f"{module}.weight" for module in linear_layers(own.model)}
    for key, weight in merged.items():
        assert torch.equal(weight, own.model.get_parameter(key)) == ("q_proj" not in key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_update_is_not_rounded_away(kind, cell):
    variant = cell("variant=lora", "rank=4").variant
    base = loaded(kind, True)
    own = plain(base, True)
    adapted = attached(variant, base.model)
    with torch.no_grad():
        for name, p in variant.trained(adapted).items():
            p.mul_(1e-2 if "lora_B" in name else 1)
    layer = adapted.get_base_model().model.layers[0].self_attn.q_proj
    update = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    key = "model.layers.0.self_attn.q_proj.weight"
    difference = variant.merged(adapted)[key] - own.model.get_parameter(key)
    assert torch.allclose(difference, update, atol=1e-8) and update.abs().max() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16(kind, cell):
    variant = cell("variant=lora", "rank=4").variant
    base = loaded(kind, False, "bfloat16")
    own = plain(base, False, "bfloat16")
    adapted = attached(variant, base.model)
    merged = variant.merged(adapted)
    assert {weight.dtype for weight in merged.values()} == {torch.bfloat16}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = logits(adapted)
        own.assign(merged)
        assert distance(logits(own.model), wanted) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_saved_merged_weights_are_the_whole_of_it(kind, cell, tmp_path):
    variant = cell("variant=mora", "rank=4", "variant.alpha=4", "variant.target_modules=[q_proj,up_proj]").variant
    base = loaded(kind, False)
    adapted = attached(variant, base.model)
    variant.save(adapted, tmp_path)
    untouched = loaded(None, False)  # as the model card says: into the plain base
    untouched.assign(load_file(tmp_path / "merged.safetensors"))
    assert distance(logits(untouched.model), logits(adapted)) < TOLERANCE[kind]
