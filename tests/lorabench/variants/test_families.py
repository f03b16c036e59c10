"""Every variant on models whose layers are called, or lie in memory, in other ways than Llama's."""

import json
import warnings

import pytest
import torch
from families import DENSE, EXPERTS, fresh_of, spec_of
from hydra.utils import instantiate
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from lorabench.cells.changes import bit_sums
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.variants import targets
from lorabench.variants.base import MERGED
from lorabench.variants.bottleneck import load as load_bottleneck

STEPS = 8
MOVED_START = ["lora_one", "nlora"]
LRS = {"full": 1e-3, "loraplus": 2e-3, "adalora": 5e-2}
RANKS = {"melora": 2}  # of each of its parts
UNFIT = [("bottleneck", "opt")]  # whose MLP is no module of its own
SIZES = {"nora": ["variant.outer_rank=8"]}
NAMES = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "opt": ["k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2"],
    "phi3": ["o_proj", "qkv_proj", "gate_up_proj", "down_proj"],
    "falcon": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "bloom": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "qwen2": targets.SEVEN,
    "gemma3_text": targets.SEVEN,
    "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "qwen3_moe": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "gpt_oss": ["q_proj", "k_proj", "v_proj", "o_proj"],
}


@pytest.fixture
def fitted(composed):
    """A function from a variant's name, a family and overrides to the variant with the family's layers."""

    def make(name, family, *overrides):
        node = targets.resolved(
            composed(name, f"rank={RANKS.get(name, 4)}", *SIZES.get(name, []), *overrides),
            lambda: linear_shapes(spec_of(family)),
        )
        return instantiate(node, _convert_="all")

    return make


@pytest.mark.parametrize("family", NAMES)
def test_the_default_and_all_linear_name_the_layers_that_there_are(family, fitted):
    shapes = linear_shapes(spec_of(family))
    for overrides in ([], ["variant.target_modules=all-linear"], ["variant.target_modules=[all-linear]"]):
        variant = fitted("lora", family, *overrides)
        assert variant.target_modules == NAMES[family]
        assert variant.targets(shapes) == list(shapes)
        variant.check(shapes)
    full = fitted("full", family)
    assert full.touched(shapes) == [f"{name}.weight" for name in shapes]


@pytest.mark.parametrize("family", DENSE)
def test_a_variant_trains_merges_and_leaves_the_base_as_it_was(
    variant_name, family, fitted, attach, calibration, settings, logits, relative
):
    base, untouched, variant = fresh_of(family), fresh_of(family), fitted(variant_name, family)
    shapes = linear_shapes(spec_of(family))
    if (variant_name, family) in UNFIT:
        with pytest.raises(UserError, match="use another variant"):
            variant.check(shapes)
        return
    variant.check(shapes)
    before, start = bit_sums(dict(base.model.named_parameters())), logits(base)
    base.remember(variant.touched(shapes))
    corpus = calibration(base).corpus
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        adapted = attach(variant, base)
    assert not [str(w.message) for w in warned if "fan_in" in str(w.message)]
    if variant_name not in MOVED_START:
        assert relative(logits(base, adapted), start) <= 2e-5
    trained = variant.train_only(adapted)
    assert sum(p.numel() for p in trained.values()) == variant.trainable_parameters(shapes)
    lr = LRS.get(variant_name, 1e-2)
    run = train(adapted, variant, corpus, [[0, 1]] * STEPS, lr=lr, settings=settings(warmup_ratio=0.0), dropout_seed=0)
    assert min(run.loss[1:]) < 0.999 * run.loss[0]
    expected, merged = logits(base, adapted), variant.merged(adapted)
    assert relative(expected, start) > 1e-3
    if variant.mergeable:
        assert set(merged) == {f"{name}.weight" for name in shapes}
        assert relative(logits(base, adapted), expected) <= 1e-6
        untouched.assign(merged)
        assert relative(logits(untouched), expected) <= 2e-5
    variant.detach(adapted)
    base.restore()
    assert bit_sums(dict(base.model.named_parameters())) == before
    assert torch.equal(logits(base), start)


def test_plain_peft_loads_what_was_saved_of_gpt2(variant_name, tmp_path, fitted, attach, shift, logits, relative):
    """Its layers hold Wᵀ, which PEFT must be told."""
    base, untouched, variant = fresh_of("gpt2"), fresh_of("gpt2"), fitted(variant_name, "gpt2")
    start = logits(base)
    adapted = attach(variant, base)
    shift(adapted, 0.1)
    variant.save(adapted, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RandLoRA's bases are saved once
        if variant_name == "bottleneck":
            load_bottleneck(untouched.model, tmp_path)
            loaded = untouched.model
        elif variant_name in ("full", "galore"):
            loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
        elif (tmp_path / MERGED).exists():
            untouched.assign(load_file(tmp_path / MERGED))
            loaded = untouched.model
        else:
            assert json.loads((tmp_path / "adapter_config.json").read_text())["fan_in_fan_out"]
            loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    expected = logits(base, adapted)
    assert relative(expected, start) > 1e-2
    assert relative(logits(untouched, loaded.eval()), expected) <= 2e-5


@pytest.mark.parametrize("family", EXPERTS)
@pytest.mark.parametrize("name", ["lora", "pissa", "full", "lora_ga"])
def test_beside_experts_the_linear_layers_are_trained(name, family, fitted, attach, calibration, settings, logits, relative):
    test_a_variant_trains_merges_and_leaves_the_base_as_it_was(
        name, family, fitted, attach, calibration, settings, logits, relative
    )


def test_the_line_says_what_is_adapted_and_what_is_not(composed):
    def line(family, *overrides):
        given, shapes = composed("lora", *overrides), lambda: linear_shapes(spec_of(family))
        return targets.line(family, given, targets.resolved(given, shapes), shapes)

    assert line("gpt2") == "gpt2: adapted are its linear layers but the output head: c_attn, c_proj, c_fc"
    assert line("qwen2") is None
    assert line("qwen2", "variant.target_modules=all-linear").endswith("o_proj, gate_proj, up_proj, down_proj")
    assert line("gpt2", "variant.target_modules=[c_attn]") is None
    experts = "; the experts, such as model.layers.0.mlp.experts.gate_up_proj, are no linear layers and are not adapted"
    assert line("mixtral").endswith(f"q_proj, k_proj, v_proj, o_proj{experts}")
