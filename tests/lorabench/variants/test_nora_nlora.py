"""NoRA and NLoRA: matrices between factors that come from the weight. Starts, three steps, saved forms, mistakes."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from scipy import stats

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import adapter_layers

ALPHA, OUTER = 12, 24
SCALE = ALPHA / 8


def nested(layer):
    first, second = layer.lora_A["default"], layer.lora_B["default"]
    return [first.factor, first.mixer, second.factor, second.mixer]


def structured(layer):
    first = layer.lora_A["default"]
    return [first.factor, first.mixer, layer.lora_B["default"].weight]


def test_three_steps_of_nora_are_adamw_on_the_inner_factors(build, follows):
    model = follows(
        build("nora", alpha=ALPHA, outer_rank=OUTER),
        nested,
        lambda frozen, outer_a, a, b, outer_b: frozen + SCALE * outer_b @ (b @ a) @ outer_a,
    )
    for _, layer in adapter_layers(model):
        assert [p.requires_grad for p in nested(layer)] == [False, True, True, False]


def test_three_steps_of_nlora_are_adamw_on_all_three(build, follows):
    follows(build("nlora", alpha=ALPHA), structured, lambda frozen, a, n, b: frozen + SCALE * b @ n @ a, lr=5e-3)


def test_noras_outer_factors_are_the_principal_part_of_the_weight(fresh, build, attach):
    base, untouched = fresh("tiny"), fresh("tiny").model
    model = attach(build("nora", outer_rank=OUTER), base)
    inner = []
    for name, layer in adapter_layers(model):
        outer_a, a, b, outer_b = (p.detach().double() for p in nested(layer))
        before = untouched.get_parameter(f"{name}.weight").detach().double()
        assert torch.equal(layer.get_base_layer().weight, untouched.get_parameter(f"{name}.weight"))
        best = torch.linalg.svdvals(before)[:OUTER]
        u, vt = outer_b / outer_b.norm(dim=0), outer_a / outer_a.norm(dim=1, keepdim=True)
        held = u @ u.T @ before @ vt.T @ vt
        assert 0.98 <= held.square().sum() / best.square().sum() <= 1 + 1e-6
        torch.testing.assert_close(outer_b.norm(dim=0), outer_a.norm(dim=1), rtol=1e-5, atol=0)  # √Σ in both
        torch.testing.assert_close(outer_b @ outer_a, held, atol=1e-4 * float(best[0]), rtol=0)
        assert a.shape == (8, OUTER) and not b.any()
        inner.append(a.numpy())
    assert stats.kstest(np.ravel(inner) * OUTER**0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert len({values.tobytes() for values in inner}) == len(inner)


def test_nlora_starts_as_nystroms_blocks_of_the_weight(fresh, build, attach):
    base, untouched = fresh("qwen3"), fresh("qwen3").model
    for name, layer in adapter_layers(attach(build("nlora"), base)):
        before = untouched.get_parameter(f"{name}.weight")
        a, n, b = structured(layer)
        assert torch.equal(a, before[:8]) and torch.equal(n, before[:8, :8]) and torch.equal(b, before[:, :8])
        assert torch.equal(layer.get_base_layer().weight, before)


@pytest.mark.parametrize("name", ["nora", "nlora"])
def test_they_are_saved_as_plain_lora(name, tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build(name, alpha=ALPHA)
    model = attach(variant, base)
    shift(model, 0.1)
    variant.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert (loaded.peft_config["default"].r, loaded.peft_config["default"].lora_alpha) == (8, ALPHA)
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"outer_rank": 7}, r"variant\.outer_rank=7 is below rank=8"),
        (
            {"outer_rank": 65},
            r"variant\.outer_rank=65 is larger than .*q_proj \(128 x 64\) allows; use variant\.outer_rank <= 64",
        ),
    ],
)
def test_wrong_outer_ranks_are_one_line(fields, words, build):
    variant = build("nora", **fields)
    with pytest.raises(UserError, match=words) as error:
        variant.check(Shapes({f"layers.0.{module}": (128, 64) for module in variant.target_modules}))
    assert "\n" not in str(error.value)
