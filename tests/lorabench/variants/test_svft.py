"""SVFT against its formula: the singular vectors, the trained diagonals, three steps of training, and what its file holds."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.banded import Banded


def parts(layer):
    """Vᵀ, U and the trained values of M."""
    return layer.lora_A["default"].weight, layer.lora_B["default"].left, layer.lora_B["default"].values


def places(k, d):
    """Row and column of each value, diagonal after diagonal."""
    pairs = [(i, j) for offset in range(-d, d + 1) for i in range(k) for j in range(k) if j - i == offset]
    return torch.tensor(pairs).T


@pytest.mark.parametrize(("k", "d"), [(7, 0), (7, 1), (7, 3), (7, 6), (1, 0)])
def test_the_banded_product_is_that_of_the_dense_matrix(k, d):
    draws = torch.Generator().manual_seed(d)
    u, z = (torch.randn(*shape, k, dtype=torch.float64, generator=draws) for shape in ((9,), (2, 5)))
    layer = Banded(u, d)
    assert not layer.values.any()
    layer.values.data.normal_(generator=draws)
    rows, columns = places(k, d)
    dense = torch.zeros(k, k, dtype=torch.float64)
    dense[rows, columns] = layer.values.detach()
    torch.testing.assert_close(layer.weight, u @ dense)
    torch.testing.assert_close(layer(z), z @ (u @ dense).T)
    tangent = torch.randn(2, 5, 9, dtype=torch.float64, generator=draws)
    [gradient] = torch.autograd.grad(layer(z), layer.values, tangent)
    outer = torch.einsum("abm,mi,abj->ij", tangent, u, z)
    torch.testing.assert_close(gradient, outer[rows, columns])


def test_the_vectors_are_the_weights_own(fresh, build, attach):
    base = fresh("gemma3")
    before = {name: p.detach().clone() for name, p in base.model.named_parameters()}
    for name, layer in adapter_layers(attach(build("svft"), base)):
        weight = before[f"{name}.weight"].double()
        vt, u, values = (part.detach().double() for part in parts(layer))
        k = min(weight.shape)
        assert (vt.shape, u.shape, values.shape) == ((k, weight.shape[1]), (weight.shape[0], k), (k,))
        eye = torch.eye(k, dtype=torch.float64)
        torch.testing.assert_close(vt @ vt.T, eye, atol=1e-5, rtol=0)
        torch.testing.assert_close(u.T @ u, eye, atol=1e-5, rtol=0)
        sigma = torch.from_numpy(np.linalg.svd(weight.numpy(), compute_uv=False))
        torch.testing.assert_close(u.T @ weight @ vt.T, sigma.diag(), atol=1e-5 * float(sigma[0]), rtol=0)
        assert torch.equal(layer.get_base_layer().weight, before[f"{name}.weight"])


@pytest.mark.parametrize("d", [0, 2])
def test_three_steps_are_adamw_on_the_formula(d, fresh, build, corpus, settings, loss_of, relative):
    base, reference = fresh("tiny"), fresh("tiny").model.double()
    method = build("svft", off_diagonals=d)
    model = method.attach(base.model, generator(0, "init"))
    vectors = {name: [part.detach().double() for part in parts(layer)[:2]] for name, layer in adapter_layers(model)}
    weights = {name: reference.get_parameter(f"{name}.weight").detach() for name in vectors}
    masks = {name: torch.zeros(len(vt), len(vt), dtype=torch.float64) for name, (vt, _) in vectors.items()}
    for mask in masks.values():
        mask[tuple(places(len(mask), d))] = 1
    middles = {name: torch.zeros_like(mask).requires_grad_() for name, mask in masks.items()}
    trainer = settings(eps=1e-4)
    plain = torch.optim.AdamW(middles.values(), betas=trainer.betas, eps=trainer.eps, weight_decay=trainer.weight_decay)
    done = train(model, method, corpus, [list(range(8))] * 3, lr=2e-2, settings=trainer, dropout_seed=0)
    for rate, norm, loss in zip(done.lr, done.grad_norm, done.loss, strict=True):
        adapted = {}
        for name, (vt, u) in vectors.items():
            sigma = u.T @ weights[name] @ vt.T
            adapted[f"{name}.weight"] = u @ (sigma + masks[name] * middles[name]) @ vt
        expected = loss_of(reference, adapted, corpus.encode(range(8)))
        plain.zero_grad()
        expected.backward()
        full = torch.nn.utils.clip_grad_norm_(list(middles.values()), trainer.max_grad_norm)
        plain.param_groups[0]["lr"] = rate[0]
        plain.step()
        assert (loss, norm) == (pytest.approx(expected.item(), rel=1e-5), pytest.approx(float(full), rel=5e-4))
    for name, layer in adapter_layers(model):
        values, expected = parts(layer)[2].detach().double(), middles[name].detach()[tuple(places(len(masks[name]), d))]
        assert values.abs().max() > 1e-2
        assert relative(values, expected) <= 5e-3, name
    before = dict(fresh("tiny").model.named_parameters())
    for key, merged in method.merged(model).items():
        vt, u = vectors[name := key.removesuffix(".weight")]
        moved = u @ (masks[name] * middles[name]).detach() @ vt
        assert relative(merged.double() - before[key].double(), moved) <= 5e-3


@pytest.mark.parametrize("d", [0, 3, 63])
def test_counts_are_those_of_the_model(d, fresh, build, attach):
    base = fresh("qwen3")
    shapes = linear_shapes(base.spec)
    method = build("svft", off_diagonals=d)
    count = sum(p.numel() for p in attach(method, base).parameters() if p.requires_grad)
    assert count == method.trainable_parameters(shapes)
    assert count == sum(len(places(min(shape), d)[0]) for shape in shapes.values())
    if d == 63:
        assert count == sum(64 * 64 for _ in shapes)  # all of M


def test_it_is_saved_as_lora_of_full_rank(tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("gemma3"), fresh("gemma3")
    method = build("svft", off_diagonals=2)
    model = attach(method, base)
    shift(model, 0.3)
    method.save(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    ranks = {name: min(shape) for name, shape in linear_shapes(base.spec).items()}
    assert config["peft_type"] == "LORA" and config["r"] == max(ranks.values()) == config["lora_alpha"]
    smaller = {name: k for name, k in ranks.items() if k < config["r"]}
    assert smaller and config["rank_pattern"] == config["alpha_pattern"] == smaller
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"off_diagonals": -1}, "variant.off_diagonals=-1 must be at least 0"),
        ({"off_diagonals": 64}, r"variant.off_diagonals=64 is more than .*q_proj \(128 x 64\) has; use at most 63"),
        ({"target_modules": []}, "variant.target_modules is empty"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build):
    method = build("svft", **fields)
    with pytest.raises(UserError, match=words) as error:
        method.check(Shapes({f"layers.0.{module}": (128, 64) for module in build("svft").target_modules}))
    assert "\n" not in str(error.value)
