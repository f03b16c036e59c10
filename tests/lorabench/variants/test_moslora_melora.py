"""Methods with a matrix, or zeros, between LoRA's factors: starts, steps and saved forms against float64 computations."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from scipy import stats

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers

RANK, ALPHA, STEPS, LR = 8, 12, 3, 2e-2
SCALE = ALPHA / RANK


def double(tensor):
    return tensor.detach().numpy().astype(np.float64)


def parts(layer):
    """Copies in float64 of what a layer trains."""
    first, second = layer.lora_A["default"], layer.lora_B["default"]
    trained = [first.factor, first.mixer, second.weight] if hasattr(first, "mixer") else [first.blocks, second.blocks]
    return [p.detach().double().clone().requires_grad_(True) for p in trained]


def mixed(x, a, mixer, b):
    """s·BMAx."""
    return SCALE * x @ a.T @ mixer.T @ b.T


def mini(x, a, b):
    """Each mini LoRA by itself, of a part of the inputs; their outputs one after another."""
    inputs = x.chunk(len(a), dim=-1)
    return torch.cat([SCALE * part @ first.T @ second.T for part, first, second in zip(inputs, a, b, strict=True)], dim=-1)


@pytest.mark.parametrize(("name", "update"), [("moslora", mixed), ("melora", mini)])
def test_three_steps_are_adamw_on_the_papers_formula(name, update, fresh, build, corpus, settings, relative):
    base, other, before = fresh("tiny"), fresh("tiny"), fresh("tiny")
    variant, trainer = build(name, rank=RANK, alpha=ALPHA), settings(eps=1e-4)
    model = variant.attach(base.model, generator(0, "init"))
    values = {key: parts(layer) for key, layer in adapter_layers(model)}
    done = train(model, variant, corpus, [list(range(8))] * STEPS, lr=LR, settings=trainer, dropout_seed=0)

    plain = other.model.double().requires_grad_(False)
    for key in values:
        hook = lambda module, args, output, key=key: output + update(args[0], *values[key])  # noqa: E731
        plain.get_submodule(key).register_forward_hook(hook)
    trained = [p for group in values.values() for p in group]
    adamw = torch.optim.AdamW(trained, betas=trainer.betas, eps=trainer.eps, weight_decay=trainer.weight_decay)
    examples = corpus.encode(range(8))
    for rate, loss in zip(done.lr, done.loss, strict=True):
        adamw.zero_grad()
        total = 0.0
        for example in examples:
            ids = torch.tensor([example.ids])
            logits = plain(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
        mean = total / sum(example.target_tokens for example in examples)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(trained, trainer.max_grad_norm)
        adamw.param_groups[0]["lr"] = rate[0]
        adamw.step()
        assert loss == pytest.approx(float(mean.detach()), rel=1e-5)
    for key, layer in adapter_layers(model):
        for p, expected in zip(parts(layer), values[key], strict=True):
            torch.testing.assert_close(p, expected, atol=2e-3 * LR, rtol=0)
    weights = dict(before.model.named_parameters())
    for key, merged in variant.merged(model).items():
        eye = torch.eye(merged.shape[1], dtype=torch.float64)
        moved = update(eye, *values[key.removesuffix(".weight")]).T.detach()
        assert relative(merged.double() - weights[key].double(), moved) <= 5e-3


@pytest.mark.parametrize("start", ["kaiming", "orthogonal"])
def test_the_mixer_starts_uniform_or_orthogonal_and_a_as_in_lora(start, fresh, build, attach):
    model, plain = (
        attach(build("moslora", rank=16, mixer=start), fresh("llama")),
        attach(build("lora", rank=16), fresh("llama")),
    )
    factors = dict(adapter_layers(plain))
    mixers = []
    for name, layer in adapter_layers(model):
        first = layer.lora_A["default"]
        assert torch.equal(first.factor, factors[name].lora_A["default"].weight)
        assert not layer.lora_B["default"].weight.any()
        mixers.append(double(first.mixer))
    if start == "orthogonal":
        for mixer in mixers:
            np.testing.assert_allclose(mixer @ mixer.T, np.eye(16), atol=1e-5)
    else:
        assert stats.kstest(np.ravel(mixers) * 4, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert len({mixer.tobytes() for mixer in mixers}) == len(mixers)


@pytest.mark.parametrize("k", [1, 4])
def test_mini_loras_start_by_their_own_fan_in(k, fresh, build, attach):
    base = fresh("llama")
    shapes = linear_shapes(base.spec)
    for name, layer in adapter_layers(attach(build("melora", alpha=ALPHA, k=k), base)):
        m, n = shapes[name]
        first, second = layer.lora_A["default"], layer.lora_B["default"]
        assert first.blocks.shape == (k, RANK, n // k) and second.blocks.shape == (k, m // k, RANK)
        assert first.weight.shape == (k * RANK, n) and second.weight.shape == (m, k * RANK)
        assert stats.kstest(double(first.blocks).ravel() * (n / k) ** 0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4
        assert not second.blocks.any() and layer.scaling["default"] == SCALE


def test_one_mini_lora_is_lora(fresh, build, attach, shift, logits, relative):
    bases = fresh("tiny"), fresh("tiny")
    models = [attach(build("melora", k=1), bases[0]), attach(build("lora"), bases[1])]
    shapes = linear_shapes(bases[0].spec)
    assert build("melora").trainable_parameters(shapes) == build("lora").trainable_parameters(shapes)
    (_, one), (_, plain) = (next(adapter_layers(model)) for model in models)
    one.lora_A["default"].blocks.data.copy_(plain.lora_A["default"].weight[None])
    one.lora_B["default"].blocks.data.normal_(generator=torch.Generator().manual_seed(1))
    plain.lora_B["default"].weight.data.copy_(one.lora_B["default"].blocks[0])
    assert relative(logits(bases[0], models[0]), logits(bases[1], models[1])) <= 1e-6


@pytest.mark.parametrize(("name", "rank"), [("moslora", RANK), ("melora", 4 * RANK)])
def test_it_is_saved_as_plain_lora(name, rank, tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build(name, alpha=ALPHA, **({"k": 4} if name == "melora" else {}))
    model = attach(variant, base)
    shift(model)
    expected = {key: parts(layer) for key, layer in adapter_layers(model)}
    variant.save(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (rank, SCALE * rank, "LORA")
    saved = load_file(tmp_path / "adapter_model.safetensors")
    for key, values in expected.items():
        a, b = (saved[f"base_model.model.{key}.lora_{side}.weight"].double() for side in "AB")
        update = (mixed if name == "moslora" else mini)(torch.eye(a.shape[1]).double(), *values).T
        torch.testing.assert_close(SCALE * b @ a, update.detach(), atol=1e-7, rtol=1e-5)
        assert np.linalg.matrix_rank(update.detach().numpy()) == min(rank, *update.shape)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("moslora", {"mixer": "zeros"}, "variant.mixer=zeros is unknown; available: kaiming, orthogonal"),
        ("melora", {"k": 0}, "variant.k=0 must be at least 1"),
        ("melora", {"k": 3}, r"variant.k=3 does not divide the shape of .*q_proj \(128 x 64\)"),
        ("melora", {"k": 16}, r"16 mini LoRAs have equivalent rank 128, .* has 64; use rank <= 4, or variant.k <= 8"),
    ],
)
def test_wrong_settings_are_one_line(name, fields, words, build):
    variant = build(name, **fields)
    with pytest.raises(UserError, match=words):
        variant.check(Shapes({f"layers.0.{module}": (128, 64) for module in variant.target_modules}))
