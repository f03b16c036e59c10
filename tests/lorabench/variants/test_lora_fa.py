"""LoRA-FA against AdamW in numpy on the closed-form gradient of B, and against PEFT's own optimizer."""

import numpy as np
import pytest
import torch
from peft.optimizers import create_lorafa_optimizer, lorafa

from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.loss import backward
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA
from lorabench.variants.lora_fa import LoRAFA

ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
BATCHES = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]


def factors(layer):
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


@pytest.mark.parametrize("projected", [False, True])
def test_three_steps_on_the_closed_form_gradient(projected, fresh, build, attach):
    """½‖y − t‖² of one layer: with E = x(W + sBA)ᵀ − t, ∇_B = s·(Eᵀx)Aᵀ, and AdamW on it or on ∇_B (AAᵀ)⁻¹ / s²."""
    variant = build("lora_fa", alpha=12, projected=projected)
    model = attach(variant, fresh("qwen3")).double()
    _, layer = next(item for item in adapter_layers(model) if item[0].endswith("1.mlp.down_proj"))
    draw = np.random.default_rng(0)
    x, target = draw.normal(size=(30, layer.in_features)), draw.normal(size=(30, layer.out_features))
    lora_A, lora_B = factors(layer)
    a, b, w = (t.detach().numpy().copy() for t in (lora_A, lora_B, layer.get_base_layer().weight))
    optimizer = variant.optimizer(model, 1e-2, **ADAMW)
    m, v = np.zeros_like(b), np.zeros_like(b)
    for t in range(1, 4):
        optimizer.zero_grad()
        (0.5 * (layer(torch.from_numpy(x)) - torch.from_numpy(target)).square().sum()).backward()
        optimizer.step()
        g = 1.5 * (x @ (w + 1.5 * b @ a).T - target).T @ x @ a.T
        g = g @ np.linalg.inv(a @ a.T) / 1.5**2 if projected else g
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        b = b * (1 - 1e-2 * 0.1) - 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(lora_B.detach().numpy(), b, rtol=0, atol=1e-7)
    assert lora_A.grad is None
    assert np.array_equal(lora_A.detach().numpy(), a)


def test_projected_training_is_that_of_pefts_optimizer(fresh, build, corpus, settings, relative, monkeypatch):
    """PEFT's without its rounding to bfloat16, and with an eps so small that where it is added does not matter."""
    monkeypatch.setattr(lorafa, "is_bf16_available", lambda: False)
    trainer, moved = settings(warmup_ratio=0.0, eps=1e-15), []
    for by_peft in (False, True):
        base, variant = fresh("tiny"), build("lora_fa", alpha=16, projected=True)
        model = variant.attach(base.model, generator(0, "init")).double()
        start = {name: p.detach().clone() for name, p in variant.train_only(model).items()}
        if by_peft:
            optimizer = create_lorafa_optimizer(model, r=8, lora_alpha=16, lr=1e-3)
            optimizer.param_groups[0]["eps"] = 1e-15
            rates = [1e-3 * (1 + np.cos(np.pi * step / 3)) / 2 for step in range(3)]
            for batch, rate in zip(BATCHES, rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
                backward(model, corpus.encode(batch), trainer, corpus.tokenizer.pad_token_id)
                torch.nn.utils.clip_grad_norm_(list(variant.trained(model).values()), trainer.max_grad_norm)
                optimizer.step()
        else:
            train(model, variant, corpus, BATCHES, lr=1e-3, settings=trainer, dropout_seed=0)
        moved.append(torch.cat([(p.detach() - start[name]).flatten() for name, p in variant.trained(model).items()]))
    assert relative(*moved) <= 1e-5


def test_the_projection_makes_another_step(fresh, build, corpus, settings):
    losses = []
    for projected in (False, True):
        base, variant = fresh("tiny"), build("lora_fa", projected=projected)
        model = variant.attach(base.model, generator(0, "init"))
        done = train(model, variant, corpus, BATCHES, lr=1e-2, settings=settings(warmup_ratio=0.0), dropout_seed=0)
        losses.append(done.loss)
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]


def test_its_start_is_loras_and_a_never_moves(fresh, build, corpus, settings):
    plain, base, variant = fresh("tiny"), fresh("tiny"), build("lora_fa")
    lora = build("lora").attach(plain.model, generator(0, "init"))
    model = variant.attach(base.model, generator(0, "init"))
    starts = {name: factors(layer) for name, layer in adapter_layers(lora)}
    train(model, variant, corpus, BATCHES, lr=1e-2, settings=settings(warmup_ratio=0.0), dropout_seed=0)
    for name, layer in adapter_layers(model):
        a, b = factors(layer)
        assert torch.equal(a, starts[name][0])
        assert not starts[name][1].any() and b.any()


def test_b_alone_is_counted_and_measured(build, tiny):
    shapes, variant = linear_shapes(tiny.spec), build("lora_fa")
    of_b = 8 * sum(m for m, _ in shapes.values())
    assert variant.trainable_parameters(shapes) == of_b
    assert variant.optimizer_bytes(shapes) == 8 * of_b
    assert LoRA.bilinear and not LoRAFA.bilinear
