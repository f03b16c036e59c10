"""GraLoRA against its definition, block by block, and against LoRA for k = 1."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lorabench.errors import UserError
from lorabench.variants.base import adapter_layers
from lorabench.variants.gralora import GraLoRA
from lorabench.variants.lora import LoRA

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FIELDS = {"rank": 8, "alpha": 12.0, "dropout": 0.0, "target_modules": TARGETS}


def variant(**changed):
    return GraLoRA(**{"name": "gralora", "k": 2} | FIELDS | changed)


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    return LlamaForCausalLM(config).to(dtype).requires_grad_(False).eval()


def shapes_of(model):
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    return {name: (m.out_features, m.in_features) for name, m in linear.items()}


def update(a, b, rank, k, alpha):
    """ΔW [m, n] from its k × k blocks.

    ``a`` [k, n/k, r] holds, for each group of inputs, A_ijᵀ of all groups i of outputs side by side; ``b`` [k, r, m/k], for
    each group of outputs, B_ijᵀ of all groups j of inputs one below the other.
    """
    part = rank // k
    rows = []
    for i in range(k):
        row = []
        for j in range(k):
            a_ij = a[j, :, i * part : (i + 1) * part].T  # [r/k, n/k]
            b_ij = b[i, j * part : (j + 1) * part, :].T  # [m/k, r/k]
            row.append(alpha / rank * b_ij @ a_ij)
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows, dim=0)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["q_proj", "k_proj", "up_proj", "down_proj"])
def test_output_and_gradient_follow_the_definition(k, name):
    method = variant(k=k)
    model = method.attach(llama(torch.float64), torch.Generator().manual_seed(1))
    layer = next(layer for full, layer in adapter_layers(model) if full.endswith(name))
    a, b = layer.gralora_A["default"], layer.gralora_B["default"]
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        b.normal_(generator=g)
    w = layer.get_base_layer().weight
    x = torch.randn(2, 5, w.shape[1], generator=g, dtype=torch.float64)
    up = torch.randn(2, 5, w.shape[0], generator=g, dtype=torch.float64)

    y = layer(x)
    (y * up).sum().backward()
    a_, b_ = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    expected = x @ (w + update(a_, b_, 8, k, 12.0)).T
    (expected * up).sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(a.grad, a_.grad)
    torch.testing.assert_close(b.grad, b_.grad)
    torch.testing.assert_close(layer.get_delta_weight("default"), update(a_, b_, 8, k, 12.0))
    if k > 1:
        assert torch.linalg.matrix_rank(update(a_, b_, 8, k, 12.0).detach()) > 8
    before = a.detach().clone(), b.detach().clone()
    method.optimizer(model, lr=0.1, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.0).step()
    for p, old, gradient in zip((a, b), before, (a_.grad, b_.grad), strict=True):  # AdamW from zero moments
        torch.testing.assert_close(p.detach(), old - 0.1 * gradient / (gradient.abs() + 1e-3))


def test_k_1_is_lora():
    """Same generator, same A; given the same B, the same function, gradient and first step."""
    ids = torch.randint(61, (2, 10), generator=torch.Generator().manual_seed(3))
    settings = {"betas": (0.9, 0.999), "eps": 1e-3, "weight_decay": 0.0}
    runs = []
    for method in (variant(k=1), LoRA(name="lora", **FIELDS)):
        model = method.attach(llama(torch.float64), torch.Generator().manual_seed(1))
        layers = [layer for _, layer in adapter_layers(model)]
        if method.name == "lora":
            a, b = [x.lora_A["default"].weight for x in layers], [x.lora_B["default"].weight for x in layers]
        else:
            a, b = [x.gralora_A["default"] for x in layers], [x.gralora_B["default"] for x in layers]
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for x in b:
                values = torch.randn(x.numel() // 8, 8, generator=draw)  # [m, r]
                x.copy_(values if x.ndim == 2 else values.T)
        optimizer = method.optimizer(model, 1e-2, **settings)
        out = model(input_ids=ids, labels=ids)
        out.loss.backward()
        flat = [t.T if t.ndim == 2 else t.squeeze(0) for t in a + b]
        grads = [t.grad.T if t.ndim == 2 else t.grad.squeeze(0) for t in a + b]
        starts = [t.detach().clone() for t in flat]
        optimizer.step()
        runs.append((out.logits.detach(), starts, grads, [t.detach() for t in flat]))
    for ours, theirs in zip(*runs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_start_depends_on_the_generator_alone():
    starts = []
    for noise, seed in ((0, 1), (7, 1), (0, 2)):
        base = llama()
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = variant().attach(base, torch.Generator().manual_seed(seed))
        assert torch.equal(before, torch.get_rng_state())
        starts.append([layer.gralora_A["default"].detach().clone() for _, layer in adapter_layers(model)])
    assert all(torch.equal(a, b) for a, b in zip(starts[0], starts[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(starts[0], starts[2], strict=True))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_starts_uniform_with_the_fan_in_of_a_block_and_b_at_zero(k):
    model = variant(k=k).attach(llama(), torch.Generator().manual_seed(1))
    for name, layer in adapter_layers(model):
        a = layer.gralora_A["default"].detach()
        bound = (k / layer.in_features) ** 0.5
        assert a.abs().max() <= bound, name
        assert float(a.std()) == pytest.approx(bound / 3**0.5, rel=0.15), name
        assert not layer.gralora_B["default"].any()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_trainable_parameters_are_loras_for_every_k(k):
    base, method = llama(), variant(k=k)
    shapes = shapes_of(base)
    method.check(shapes)
    model = method.attach(base, torch.Generator().manual_seed(1))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.trainable_parameters(shapes)
    assert method.trainable_parameters(shapes) == LoRA(name="lora", **FIELDS).trainable_parameters(shapes)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"k": 0}, "variant.k=0"),
        ({"k": 3}, "does not divide rank=8"),
        ({"k": 16, "rank": 16}, "does not divide the shape of .*down_proj .32 x 56."),
    ],
)
def test_a_k_that_does_not_fit_gives_one_line(changed, words):
    shapes = {f"model.layers.0.{name}": (32, 32) for name in TARGETS} | {"model.layers.0.down_proj": (32, 56)}
    with pytest.raises(UserError, match=words) as error:
        variant(**changed).check(shapes)
    assert "\n" not in str(error.value)
