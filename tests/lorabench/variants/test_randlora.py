"""RandLoRA against its definition, and the match of its size to LoRA's."""

import math

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import LlamaConfig, LlamaForCausalLM

from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers
from lorabench.variants.randlora import RandLoRA

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def variant(**changed):
    fields = {"name": "randlora", "rank": 4, "alpha": 4.0, "dropout": 0.0, "target_modules": TARGETS}
    return RandLoRA(**fields | {"basis_rank": None, "basis_scale": 20.0} | changed)


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    return LlamaForCausalLM(config).to(dtype).requires_grad_(False).eval()


def shapes_of(model):
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    return {name: (m.out_features, m.in_features) for name, m in linear.items()}


def trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def update(basis_a, basis_b, lambda_, gamma, m, n):
    """Σ_j B_j Λ_j A Γ_j [m, n], transposed where m < n.

    PEFT holds A as [b, 1, d], B as [D, N, b] and Λ as [b, N], and pairs row (k, j) of A with the (k·N + j)-th column of B.
    """
    d, big = min(m, n), max(m, n)
    b, count = lambda_.shape
    columns = basis_b[:big, :count].reshape(big, count * b)
    a = basis_a[:, 0, :d]
    total = torch.zeros(big, d, dtype=lambda_.dtype)
    for j in range(count):
        b_j = columns[:, [k * count + j for k in range(b)]]
        total = total + b_j @ torch.diag(lambda_[:, j]) @ a @ torch.diag(gamma[j])
    return total if m >= n else total.T


@pytest.mark.parametrize("basis_rank", [1, 5, 16, 40])
@pytest.mark.parametrize("name", ["q_proj", "k_proj", "up_proj", "down_proj"])
def test_output_and_gradient_follow_the_definition(name, basis_rank):
    """Square, wide and tall matrices; a basis rank that does not divide d, and one above it; alpha ≠ rank."""
    method = variant(basis_rank=basis_rank, alpha=6.0)
    model = method.attach(llama(torch.float64), torch.Generator().manual_seed(1))
    layer = next(layer for full, layer in adapter_layers(model) if full.endswith(name))
    lambda_, gamma = layer.randlora_lambda["default"], layer.randlora_gamma["default"]
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        lambda_.normal_(generator=g)
        gamma.normal_(generator=g)
    w = layer.get_base_layer().weight
    x = torch.randn(2, 5, w.shape[1], generator=g, dtype=torch.float64)
    up = torch.randn(2, 5, w.shape[0], generator=g, dtype=torch.float64)

    y = layer(x)
    (y * up).sum().backward()
    l_, g_ = lambda_.detach().clone().requires_grad_(), gamma.detach().clone().requires_grad_()
    delta = 20 * 6 / 4 * update(layer.randlora_A["default"], layer.randlora_B["default"], l_, g_, *w.shape)
    expected = x @ (w + delta).T
    (expected * up).sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(lambda_.grad, l_.grad)
    torch.testing.assert_close(gamma.grad, g_.grad)
    torch.testing.assert_close(layer.get_delta_weight("default"), delta)
    before = lambda_.detach().clone(), gamma.detach().clone()
    method.optimizer(model, lr=0.1, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.0).step()
    for p, old, gradient in zip((lambda_, gamma), before, (l_.grad, g_.grad), strict=True):  # AdamW from zero moments
        torch.testing.assert_close(p.detach(), old - 0.1 * gradient / (gradient.abs() + 1e-3))


@pytest.mark.parametrize("basis_rank", [3, 8])
def test_the_update_reaches_full_rank(basis_rank):
    model = variant(basis_rank=basis_rank).attach(llama(torch.float64), torch.Generator().manual_seed(1))
    for name, layer in adapter_layers(model):
        with torch.no_grad():
            layer.randlora_lambda["default"].normal_()
            layer.randlora_gamma["default"].normal_()
        assert torch.linalg.matrix_rank(layer.get_delta_weight("default")) == min(layer.in_features, layer.out_features), name


def test_start_and_bases():
    """Λ = 0; Γ = 1/d; bases of standard deviation 1; the scale is 20 at every basis rank."""
    for basis_rank in (2, 8):
        model = variant(basis_rank=basis_rank).attach(llama(), torch.Generator().manual_seed(1))
        for _, layer in adapter_layers(model):
            assert not layer.randlora_lambda["default"].any()
            d = min(layer.in_features, layer.out_features)
            assert torch.equal(layer.randlora_gamma["default"].detach(), torch.full((math.ceil(d / basis_rank), d), 1 / d))
            assert layer.scaling["default"] == pytest.approx(20.0)
            for basis in (layer.randlora_A["default"], layer.randlora_B["default"]):
                assert float(basis.std()) == pytest.approx(1, rel=0.02)
                assert not basis.requires_grad


def test_bases_come_from_the_generator_alone():
    bases = []
    for noise, seed in ((0, 1), (7, 1), (0, 2)):
        base = llama()
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = variant().attach(base, torch.Generator().manual_seed(seed))
        assert torch.equal(before, torch.get_rng_state())
        bases.append(model.base_model.randlora_B["default"].clone())
    assert torch.equal(bases[0], bases[1])
    assert not torch.equal(bases[0], bases[2])


@pytest.fixture(scope="module")
def counted():
    """Trained values of the PEFT model of every basis rank."""
    return {b: trained(variant(basis_rank=b).attach(llama(), torch.Generator())) for b in range(1, 33)}


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 16])
def test_the_basis_rank_comes_nearest_to_loras_count(rank, counted):
    shapes, method = shapes_of(llama()), variant(rank=rank)
    budget = Adapter.trainable_parameters(method, shapes)
    model = method.attach(llama(), torch.Generator().manual_seed(1))
    assert model.peft_config["default"].r == method.matched_rank(shapes)
    assert trained(model) == method.trainable_parameters(shapes)
    assert abs(trained(model) - budget) == min(abs(count - budget) for count in counted.values())


def test_the_count_follows_the_formula_for_every_basis_rank(counted):
    shapes = shapes_of(llama())
    for basis_rank, count in counted.items():
        assert variant(basis_rank=basis_rank).trainable_parameters(shapes) == count


def test_a_larger_budget_means_a_smaller_basis_rank():
    shapes = {f"layers.{i}.{name}": (512, 256) for i in range(3) for name in TARGETS}
    chosen = [variant(rank=rank).matched_rank(shapes) for rank in (1, 4, 16, 64)]
    assert chosen == sorted(chosen, reverse=True)
    assert len(set(chosen)) == len(chosen)


def test_counts_of_paper_1(cell):
    """Qwen3-0.6B, LoRA at rank 128: the counts that paper 1's authors publish with their code, and the nearest basis rank."""
    qwen = cell("model=qwen3-0.6b", "variant=randlora", "rank=128")
    shapes, method = linear_shapes(qwen.model), qwen.variant
    published = {1: 205_721_600, 2: 102_961_152, 3: 68_841_864, 4: 51_580_928}
    for basis_rank, count in published.items():
        assert variant(basis_rank=basis_rank).trainable_parameters(shapes) == count
    assert Adapter.trainable_parameters(method, shapes) == 80_740_352
    assert method.matched_rank(shapes) == 3


def test_attach_prints_both_counts(capsys):
    shapes = shapes_of(llama())
    method = variant()
    method.attach(llama(), torch.Generator().manual_seed(1))
    err = capsys.readouterr().err
    assert f"basis rank {method.matched_rank(shapes)} trains {method.trainable_parameters(shapes):,}" in err
    assert f"LoRA of rank 4 trains {Adapter.trainable_parameters(method, shapes):,}" in err


def test_the_saved_adapter_holds_the_bases_once_and_loads(tmp_path):
    method, base = variant(), llama()
    model = method.attach(base, torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        for _, layer in adapter_layers(model):
            layer.randlora_lambda["default"].normal_(std=0.05)
    ids = torch.randint(61, (2, 10), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        untouched = llama()(input_ids=ids).logits
    method.save(model, tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        bases = [key for key in file.keys() if "randlora_A" in key or "randlora_B" in key]  # noqa: SIM118 - not a mapping
    assert sorted(bases) == ["base_model.randlora_A", "base_model.randlora_B"]
    with pytest.warns(UserWarning, match="missing adapter keys"):
        loaded = PeftModel.from_pretrained(llama(), tmp_path).eval()
    with torch.no_grad():
        logits = loaded(input_ids=ids).logits
    torch.testing.assert_close(logits, expected)
    assert not torch.allclose(logits, untouched, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"basis_rank": 0}, "variant.basis_rank=0"),
        ({"basis_rank": 33}, "1 … 32"),
        ({"basis_scale": 0.0}, "variant.basis_scale=0.0"),
    ],
)
def test_bad_settings_give_one_line(changed, words):
    with pytest.raises(UserError, match=words) as error:
        variant(**changed).check(dict.fromkeys(TARGETS, (48, 32)))
    assert "\n" not in str(error.value)
