"""ShareLoRA, Tied-LoRA and RaSA: what layers share, three steps against float64, saved forms, mistakes."""

import pytest
import torch
from peft import PeftModel
from scipy import stats

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import adapter_layers

ALPHA = 12
SCALE = ALPHA / 8


def pair(layer):
    return [layer.lora_A["default"].weight, layer.lora_B["default"].weight]


def tied(layer):
    first, second = layer.lora_A["default"], layer.lora_B["default"]
    return [first.parts[0], first.scale, second.parts[0], second.scale]


def pooled(layer):
    first, second = layer.lora_A["default"], layer.lora_B["default"]
    return [*first.parts, first.scale, *second.parts]


def rasa_weight(frozen, a, pool_a, e, b, pool_b):
    own = len(a)
    return frozen + (b * e[:own]) @ a + (pool_b * e[own:]) @ pool_a


def of_name(model):
    """The layers of each name."""
    named = {}
    for name, layer in adapter_layers(model):
        named.setdefault(name.rsplit(".", 1)[-1], []).append(layer)
    return named


@pytest.mark.parametrize("share", ["A", "B", "AB"])
def test_sharelora_is_adamw_with_one_factor_for_all(share, build, follows):
    model = follows(build("sharelora", alpha=ALPHA, share=share), pair, lambda frozen, a, b: frozen + SCALE * b @ a)
    for layers in of_name(model).values():
        for factor, side in zip("AB", range(2), strict=True):
            assert len({id(pair(layer)[side]) for layer in layers}) == (1 if factor in share else len(layers))


def test_tied_lora_is_adamw_on_tied_factors_and_scales(build, follows):
    model = follows(build("tied_lora", alpha=ALPHA), tied, lambda w, a, u, b, v: w + SCALE * v.diag() @ b @ u.diag() @ a)
    for layers in of_name(model).values():
        assert [len({id(tied(layer)[i]) for layer in layers}) for i in range(4)] == [1, len(layers), 1, len(layers)]


def test_rasa_is_adamw_on_own_and_pooled_ranks(build, follows):
    model = follows(build("rasa", alpha=ALPHA, k=2), pooled, rasa_weight)
    for layers in of_name(model).values():
        assert [len({id(pooled(layer)[i]) for layer in layers}) for i in range(5)] == [4, 1, 4, 4, 1]


def test_starts(fresh, build, attach):
    models = {name: attach(build(name, alpha=ALPHA), fresh("tiny")) for name in ("lora", "sharelora", "tied_lora", "rasa")}
    plain = of_name(models["lora"])
    for name, layers in of_name(models["sharelora"]).items():
        assert all(torch.equal(pair(layer)[0], pair(plain[name][0])[0]) for layer in layers)
    for name, layers in of_name(models["tied_lora"]).items():
        for layer in layers:
            a, u, b, v = tied(layer)
            assert torch.equal(a, pair(plain[name][0])[0]) and not b.any() and (u == 1).all() and (v == 1).all()
    for layers in of_name(models["rasa"]).values():
        for layer in layers:
            a, pool_a, e, b, pool_b = pooled(layer)
            n = layer.in_features
            assert a.shape == (7, n) and pool_a.shape == (4, n) and not b.any() and not pool_b.any()
            assert torch.allclose(e, torch.tensor([ALPHA / 14] * 7 + [ALPHA / 8] * 4))
            for factor in (a, pool_a):
                assert stats.kstest(factor.detach().numpy().ravel() * n**0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("name", "rank"), [("sharelora", 8), ("tied_lora", 8), ("rasa", 9)])
def test_they_are_saved_as_plain_lora(name, rank, tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build(name, alpha=ALPHA)
    model = attach(variant, base)
    shift(model)
    variant.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert loaded.peft_config["default"].r == rank
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("sharelora", {"share": "C"}, r"variant\.share=C is unknown; available: A, B, AB"),
        ("rasa", {"k": 0}, r"variant\.k=0 must be at least 1 and below rank=8"),
        ("rasa", {"k": 8}, r"variant\.k=8 must be at least 1 and below rank=8"),
    ],
)
def test_wrong_settings_are_one_line(name, fields, words, build):
    variant = build(name, **fields)
    with pytest.raises(UserError, match=words) as error:
        variant.check(Shapes({f"layers.0.{module}": (128, 64) for module in variant.target_modules}))
    assert "\n" not in str(error.value)


def test_rasa_refuses_unlike_numbers_of_matrices(build):
    variant = build("rasa")
    shapes = {f"layers.{block}.{module}": (128, 64) for block in range(2) for module in variant.target_modules}
    variant.check(Shapes(shapes))
    with pytest.raises(UserError, match=r"variant=rasa needs as many matrices of each name and shape; .*q_proj has 1, .* 2"):
        variant.check(Shapes(shapes | {"layers.1.q_proj": (96, 64)}))
