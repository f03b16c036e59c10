"""Variants that are LoRA with another start: the start itself and one training step."""

import copy

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training import seed
from lorabench.variants.base import adapter_layers

RANK, ALPHA = 8, 12
STARTS = ["lora", "rslora", "pissa", "milora", "olora", "init_ab", "lora_ga", "eva", "corda"]
MOVED = {"lora_one", "nlora"}  # start as another function than the base, on purpose: test_lora_one, test_nora_nlora


def double(tensor):
    return tensor.detach().numpy().astype(np.float64)


def weights(base):
    return {name: double(module.weight) for name, module in base.model.named_modules() if name.endswith("proj")}


def factors(layer):
    return double(layer.lora_A["default"].weight), double(layer.lora_B["default"].weight)


@pytest.fixture
def started(fresh, build, attach):
    """A function from a variant's name to (its name → (W, layer)) on the Qwen3 model, and the variant."""

    def make(name, model="qwen3", **fields):
        base = fresh(model)
        before = weights(base)
        variant = build(name, **fields)
        adapted = attach(variant, base)
        return {key: (before[key], layer) for key, layer in adapter_layers(adapted)}, variant

    return make


# The function is that of the base.


def test_start_is_unchanged(variant_name, model_name, fresh, build, attach, logits, base_logits, relative):
    base = fresh(model_name)
    adapted = attach(build(variant_name), base)
    change = relative(logits(base, adapted), base_logits(model_name))
    assert 1e-4 < change < 0.3 if variant_name in MOVED else change <= 1e-5


@pytest.mark.parametrize("name", STARTS)
def test_start_is_unchanged_with_alpha_unlike_rank(name, fresh, build, attach, logits, base_logits, relative):
    base = fresh("tiny")
    adapted = attach(build(name, alpha=3 * RANK), base)
    assert relative(logits(base, adapted), base_logits("tiny")) <= 1e-5


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize(
    "name",
    [
        "lora",
        "rslora",
        "gralora",
        "randlora",
        "eva",
        "relora",
        "moslora",
        "melora",
        "vera",
        "adalora",
        "sinelora",
        "nora",
        "mora",
        "sharelora",
        "tied_lora",
        "rasa",
        "svft",
        "bottleneck",
    ],
)
def test_an_update_of_zero_starts_to_the_bit(name, precision, fresh, build, attach, batch, to_bfloat16):
    base = fresh("qwen3")
    if precision == "bfloat16":
        to_bfloat16(base)
    ids, mask = batch(base)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
        before = base.model(input_ids=ids, attention_mask=mask).logits
        after = attach(build(name), base)(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(before, after)


@pytest.mark.parametrize("model", ["tiny", "qwen3", "gemma3"])
def test_start_in_bfloat16_is_as_near_as_the_base_in_bfloat16(
    model, variant_name, fresh, build, attach, logits, base_logits, relative, to_bfloat16
):
    base, exact = fresh(model), base_logits(model)
    to_bfloat16(base)
    rounding = relative(logits(base), exact)
    adapted = attach(build(variant_name), base)
    if variant_name in MOVED:
        exact = logits(base, attach(build(variant_name), fresh(model)))
    # A changed base is rounded once more: two independent errors of one size add up to √2 of it. CorDA's adapter carries most of
    # the output on the task's inputs, and its products are rounded, too: √3.
    assert relative(logits(base, adapted), exact) <= (1.75 if variant_name == "corda" else 1.5) * rounding


# Initial factors against the formulas, in float64 by numpy.


@pytest.mark.parametrize(("name", "scale"), [("lora", ALPHA / RANK), ("rslora", ALPHA / RANK**0.5)])
def test_lora_start(started, name, scale):
    layers, variant = started(name, alpha=ALPHA)
    assert variant.scale == scale
    for before, layer in layers.values():
        a, b = factors(layer)
        n = before.shape[1]
        assert layer.scaling["default"] == scale
        assert stats.kstest(a.ravel() * n**0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4
        assert not b.any()
        assert (double(layer.get_base_layer().weight) == before).all()
    assert not variant.initial


def test_init_ab_start(started):
    layers, _ = started("init_ab", alpha=ALPHA)
    for before, layer in layers.values():
        a, b = factors(layer)
        n = before.shape[1]
        for factor in (a, b):
            assert stats.kstest(factor.ravel() * n**0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4
        assert abs(stats.pearsonr(a.ravel()[: b.size], b.ravel()[: a.size]).statistic) < 0.3
        check_residual(before, layer)


def check_residual(before, layer):
    a, b = factors(layer)
    residual = double(layer.get_base_layer().weight)
    np.testing.assert_allclose(residual, before - ALPHA / RANK * b @ a, atol=1e-6 * np.abs(before).max(), rtol=0)


@pytest.mark.parametrize(
    ("name", "fields", "part"), [("pissa", {"iterations": None}, slice(None, RANK)), ("milora", {}, slice(-RANK, None))]
)
@pytest.mark.parametrize("model", ["qwen3", "tiny"])
def test_singular_starts(started, name, fields, part, model):
    layers, _ = started(name, model, alpha=ALPHA, **fields)
    for before, layer in layers.values():
        u, sigma, vt = np.linalg.svd(before, full_matrices=False)
        a, b = factors(layer)
        # The largest are found to rounding; of the smallest, the error is that of a float32 SVD, relative to the whole W.
        atol = 1e-5 * sigma[0]
        np.testing.assert_allclose(ALPHA / RANK * b @ a, u[:, part] * sigma[part] @ vt[part], atol=atol, rtol=0)
        half = np.sqrt(sigma[part] / (ALPHA / RANK))
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), half, rtol=2e-3)
        np.testing.assert_allclose(np.linalg.norm(b, axis=0), half, rtol=2e-3)
        check_residual(before, layer)


@pytest.mark.parametrize("model", ["qwen3", "tiny"])
def test_pissa_start_by_randomised_svd(started, model):
    """W projected on r orthonormal directions, which hold almost all of what the best r hold (where there is no gap, too)."""
    layers, variant = started("pissa", model, alpha=ALPHA)
    assert variant.iterations == 16
    for before, layer in layers.values():
        a, b = factors(layer)
        lengths = np.linalg.norm(b, axis=0)
        u, vt = b / lengths, a / lengths[:, None]
        np.testing.assert_allclose(u.T @ u, np.eye(RANK), atol=1e-5)
        np.testing.assert_allclose(vt @ vt.T, np.eye(RANK), atol=1e-5)
        projected = u @ u.T @ before if before.shape[0] >= before.shape[1] else before @ vt.T @ vt
        np.testing.assert_allclose(ALPHA / RANK * b @ a, projected, atol=1e-5 * np.linalg.norm(before, 2))
        best = np.linalg.svd(before, compute_uv=False)[:RANK]
        assert 0.98 <= np.sum(projected**2) / np.sum(best**2) <= 1 + 1e-6
        check_residual(before, layer)


@pytest.mark.parametrize("model", ["qwen3", "tiny"])
def test_olora_start(started, model):
    layers, _ = started("olora", model, alpha=ALPHA)
    for before, layer in layers.values():
        q, r = np.linalg.qr(before)
        a, b = factors(layer)
        np.testing.assert_allclose(b, q[:, :RANK], atol=1e-5)
        np.testing.assert_allclose(a, r[:RANK], atol=1e-5 * np.abs(r).max())
        assert not np.tril(a, -1).any()
        check_residual(before, layer)


@pytest.mark.parametrize("rank", [RANK, 16])  # 4 x 16 vectors: the whole space of the smaller matrices
def test_lora_ga_start(fresh, build, calibration, rank):
    base = fresh("qwen3")
    before = weights(base)
    samples = calibration(base)
    names = [name for name in before if name.startswith("model.layers.1")]
    gradients = {name: double(gradient) for name, gradient in samples.gradients(base.model, names, 32)}
    variant = build("lora_ga", rank=rank, alpha=ALPHA / RANK * rank, gamma=9)
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    for name, layer in adapter_layers(adapted):
        if name not in gradients:
            continue
        u, _, vt = np.linalg.svd(gradients[name])
        a, b = factors(layer)
        size = len(before[name]) ** 0.5 / 9  # c² = √m / γ
        # Projections on the spans, which no sign of a singular vector changes.
        np.testing.assert_allclose(a.T @ a, size * vt[:rank].T @ vt[:rank], atol=0.02 * size)
        np.testing.assert_allclose(b @ b.T, size * u[:, rank : 2 * rank] @ u[:, rank : 2 * rank].T, atol=0.02 * size)
        # Each vector, up to its sign, where neighbours are well apart.
        np.testing.assert_allclose(np.abs(np.sum(a[:3] * vt[:3], axis=1)), size**0.5, rtol=1e-3)
        np.testing.assert_allclose(np.abs(np.sum(b[:, :3] * u[:, rank : rank + 3], axis=0)), size**0.5, rtol=0.02)
        check_residual(before[name], layer)


def test_lora_ga_takes_the_first_samples_of_the_cell(fresh, build, calibration, same_bits):
    def start(first, samples):
        base = fresh("llama")
        variant = build("lora_ga", samples=samples)
        return variant.attach(base.model, seed.generator(0, "init"), calibration(base, first))

    assert same_bits(start(0, 8), start(0, 8))
    assert not same_bits(start(0, 8), start(0, 16))
    assert not same_bits(start(0, 8), start(8, 8))


# PEFT's own initialisation, where it is right.


@pytest.mark.parametrize("alpha", [RANK, ALPHA])
@pytest.mark.parametrize(("name", "fields", "init"), [("pissa", {"iterations": None}, "pissa"), ("olora", {}, "olora")])
def test_peft_starts_alike(fresh, build, attach, name, fields, init, alpha):
    ours, theirs = fresh("llama"), fresh("llama")
    variant = build(name, alpha=alpha, **fields)
    adapted = attach(variant, ours)
    config = LoraConfig(
        r=RANK, lora_alpha=alpha, target_modules=variant.target_modules, init_lora_weights=init, task_type="CAUSAL_LM"
    )
    reference = dict(adapter_layers(get_peft_model(theirs.model, config)))
    for key, layer in adapter_layers(adapted):
        for value, expected in zip(factors(layer), factors(reference[key]), strict=True):
            np.testing.assert_allclose(value, expected, atol=2e-5 * np.abs(expected).max(), err_msg=key)
        base, reference_base = layer.get_base_layer().weight, reference[key].get_base_layer().weight
        torch.testing.assert_close(base, reference_base, atol=1e-6, rtol=0)


# One step of training.


@pytest.mark.parametrize("name", STARTS)
def test_one_adamw_step_on_the_closed_form_gradient(fresh, build, attach, name):
    """½‖y − t‖² of one layer: with W* = W' + sBA and E = xW*ᵀ − t, ∇A = s·Bᵀ(Eᵀx) and ∇B = s·(Eᵀx)Aᵀ."""
    base = fresh("qwen3")
    variant = build(name, alpha=ALPHA)
    adapted = attach(variant, base)
    _, layer = next(item for item in adapter_layers(adapted) if item[0].endswith("1.mlp.down_proj"))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, layer.in_features, generator=generator)
    target = torch.randn(30, layer.out_features, generator=generator)
    lora_A, lora_B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    a, b, residual = double(lora_A), double(lora_B), double(layer.get_base_layer().weight)

    lr, betas, eps, decay, max_norm = 3e-2, (0.8, 0.95), 1e-3, 0.1, 5.0
    optimizer = variant.optimizer(adapted, lr, betas=betas, eps=eps, weight_decay=decay)
    (0.5 * (layer(x) - target).square().sum()).backward()
    norm = variant.clip(adapted, optimizer, max_norm)
    optimizer.step()

    s = ALPHA / RANK**0.5 if name == "rslora" else ALPHA / RANK
    outer = (double(x) @ (residual + s * b @ a).T - double(target)).T @ double(x)
    gradients = s * b.T @ outer, s * outer @ a.T
    full = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    assert norm == pytest.approx(full, rel=1e-4)
    assert full > max_norm
    for parameter, old, gradient in zip((lora_A, lora_B), (a, b), gradients, strict=True):
        g = gradient * max_norm / full
        m = (1 - betas[0]) * g / (1 - betas[0])
        v = (1 - betas[1]) * g**2 / (1 - betas[1])
        new = old * (1 - lr * decay) - lr * m / (np.sqrt(v) + eps)
        np.testing.assert_allclose(double(parameter), new, atol=1e-4 * lr)
    assert (double(layer.get_base_layer().weight) == residual).all()


def test_trainable_parameters_are_counted_right(variant_name, fresh, build, attach):
    base = fresh("qwen3")
    modules = {name: module for name, module in base.model.named_modules() if isinstance(module, torch.nn.Linear)}
    variant = build(variant_name)
    shapes = Shapes({name: (m.out_features, m.in_features) for name, m in modules.items()}, copy.deepcopy(base.model))
    expected = variant.trainable_parameters(shapes)
    adapted = attach(variant, base)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == expected


# Mistakes.


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("lora", {"rank": 65}, r"rank=65 is larger than .*\(.*use rank <= 64"),
        ("pissa", {"iterations": -1}, "variant.iterations=-1 must be at least 0"),
        ("lora_ga", {"rank": 33}, r"rank=33: variant=lora_ga needs 2 x rank .*q_proj \(128 x 64\) has 64; use rank <= 32"),
        ("lora_ga", {"gamma": 0}, "variant.gamma=0 must be positive"),
        ("lora_ga", {"samples": 0}, "variant.samples=0 must be at least 1"),
        ("eva", {"samples": 0}, "variant.samples=0 must be at least 1"),
        ("corda", {"mode": "imp"}, "variant.mode=imp is unknown; did you mean 'ipm'"),
        ("corda", {"damping": 0}, "variant.damping=0 must be positive"),
        ("lora_one", {"gamma": 0}, "variant.gamma=0 must be positive"),
        ("lora_one", {"damping": 0}, "variant.damping=0 must be positive, or null"),
    ],
)
def test_mistakes_are_one_clear_line(build, name, fields, words):
    variant = build(name, **fields)
    with pytest.raises(UserError, match=words) as error:
        variant.check({f"layers.0.{module}": (128, 64) for module in variant.target_modules})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["lora_ga", "eva", "corda", "lora_one"])
def test_a_start_from_data_without_data_says_so(fresh, build, name):
    with pytest.raises(ValueError, match="needs a calibration"):
        build(name).attach(fresh("llama").model, seed.generator(0, "init"))
