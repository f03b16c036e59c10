"""DoRA against a float64 numpy version of its definition."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lorabench.variants.base import adapter_layers
from lorabench.variants.dora import DoRA

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def variant(**changed):
    return DoRA(**{"name": "dora", "rank": 4, "alpha": 6.0, "dropout": 0.0, "target_modules": TARGETS} | changed)


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    return LlamaForCausalLM(config).to(dtype).requires_grad_(False).eval()


def moved(model, seed=0):
    """The model with B and g away from their start."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in adapter_layers(model):
            layer.lora_B["default"].weight.normal_(std=0.3, generator=g)
            magnitude = layer.lora_magnitude_vector["default"].weight
            magnitude.mul_(1 + 0.2 * torch.rand(magnitude.shape, generator=g))
    return model


def numbers(layer):
    """W, A, B, g of a layer in float64."""
    tensors = (
        layer.get_base_layer().weight,
        layer.lora_A["default"].weight,
        layer.lora_B["default"].weight,
        layer.lora_magnitude_vector["default"].weight,
    )
    return [t.detach().double().numpy() for t in tensors]


def test_g_starts_as_the_row_norms_in_float32_beside_a_bfloat16_base():
    model = variant().attach(llama(torch.bfloat16), torch.Generator().manual_seed(1))
    for _, layer in adapter_layers(model):
        magnitude = layer.lora_magnitude_vector["default"].weight
        assert magnitude.dtype == torch.float32
        assert magnitude.requires_grad
        w, _, _, g = numbers(layer)
        np.testing.assert_allclose(g, np.linalg.norm(w, axis=1), rtol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_bfloat16_model_starts_unchanged_to_the_bit(autocast):
    base = llama(torch.bfloat16)
    ids = torch.randint(61, (2, 10), generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        before = base(input_ids=ids).logits
        after = variant().attach(base, torch.Generator().manual_seed(1))(input_ids=ids).logits
    assert torch.equal(before, after)


def test_the_norm_stays_float32_under_autocast():
    model = moved(variant().attach(llama(torch.bfloat16), torch.Generator().manual_seed(1)))
    seen = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _, layer in adapter_layers(model):
            magnitude = layer.lora_magnitude_vector["default"]
            product = magnitude.get_lora_weight(layer.lora_A["default"], layer.lora_B["default"])
            norm = magnitude.get_weight_norm(layer.get_base_layer().weight.float(), product, 1.5)
            w, a, b, _ = numbers(layer)
            np.testing.assert_allclose(norm.numpy(), np.linalg.norm(w + 1.5 * b @ a, axis=1), rtol=1e-6)
            seen.append(norm.dtype)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("name", ["q_proj", "v_proj", "down_proj"])
def test_output_gradient_and_step_follow_the_definition(name):
    """Forward pass, gradient with a constant norm, and one AdamW step; alpha ≠ rank."""
    method = variant()
    model = moved(method.attach(llama(), torch.Generator().manual_seed(1)))
    layer = next(layer for full, layer in adapter_layers(model) if full.endswith(name))
    w, a, b, g = numbers(layer)
    rng, s = np.random.default_rng(0), 6 / 4
    x, up = rng.normal(size=(9, w.shape[1])), rng.normal(size=(9, w.shape[0]))
    settings = {"betas": (0.9, 0.999), "eps": 1e-2, "weight_decay": 0.0}
    optimizer = method.optimizer(model, 1e-2, **settings)
    model.train()
    y = layer(torch.from_numpy(x).float())
    (y * torch.from_numpy(up).float()).sum().backward()

    direction = w + s * b @ a
    norm = np.linalg.norm(direction, axis=1)
    scaled = up * (g / norm)
    expected = {
        "g": (up * (x @ direction.T)).sum(0) / norm,
        "A": s * b.T @ scaled.T @ x,
        "B": s * scaled.T @ x @ a.T,
    }
    factors = {
        "g": layer.lora_magnitude_vector["default"].weight,
        "A": layer.lora_A["default"].weight,
        "B": layer.lora_B["default"].weight,
    }
    np.testing.assert_allclose(y.detach().numpy(), x @ (direction * (g / norm)[:, None]).T, rtol=1e-4, atol=1e-5)
    for key, gradient in expected.items():
        np.testing.assert_allclose(factors[key].grad.numpy(), gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())

    optimizer.step()
    for key, value in (("g", g), ("A", a), ("B", b)):
        after = value - 1e-2 * expected[key] / (np.abs(expected[key]) + 1e-2)
        np.testing.assert_allclose(factors[key].detach().numpy(), after, rtol=1e-4, atol=1e-5)


def test_merged_weights_are_the_scaled_rows():
    method = variant()
    model = moved(method.attach(llama(), torch.Generator().manual_seed(1)))
    merged = method.merged(model)
    for name, layer in adapter_layers(model):
        w, a, b, g = numbers(layer)
        direction = w + 1.5 * b @ a
        expected = direction * (g / np.linalg.norm(direction, axis=1))[:, None]
        np.testing.assert_allclose(merged[f"{name}.weight"].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_trainable_parameters_are_loras_and_one_a_row():
    base, method = llama(), variant()
    linear = {name: m for name, m in base.named_modules() if isinstance(m, torch.nn.Linear)}
    shapes = {name: (m.out_features, m.in_features) for name, m in linear.items()}
    model = method.attach(base, torch.Generator().manual_seed(1))
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert method.trainable_parameters(shapes) == counted
    assert counted == sum(4 * (m + n) + m for name, (m, n) in shapes.items() if name != "lm_head")
