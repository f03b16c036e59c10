"""LoRA-One: the start and three steps of training, with and without preconditioners, against plain formulas."""

import copy

import numpy as np
import pytest
import torch

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.training import seed
from lorabench.training.data import collate
from lorabench.training.loop import train
from lorabench.training.schedule import lr_factor
from lorabench.variants.base import adapter_layers

RANK, ALPHA, GAMMA = 8, 12, 50
SCALE = ALPHA / RANK
LR, STEPS = 1e-2, 3


def double(tensor):
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("model", ["tiny", "qwen3"])
def test_start_is_the_best_step_of_this_rank_down_the_gradient(model, fresh, build, calibration):
    base, samples = fresh(model), calibration(fresh(model))
    variant = build("lora_one", alpha=ALPHA, gamma=GAMMA)
    names = variant.targets(name for name, _ in base.model.named_modules())
    before = {name: base.model.get_parameter(f"{name}.weight").clone() for name in names}
    gradients = {name: double(gradient) for name, gradient in samples.gradients(base.model, names, 8)}
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    for name, layer in adapter_layers(adapted):
        u, sigma, vt = np.linalg.svd(gradients[name])
        a, b = double(layer.lora_A["default"].weight), double(layer.lora_B["default"].weight)
        step = -u[:, :RANK] * sigma[:RANK] @ vt[:RANK] / (GAMMA * sigma[0])
        np.testing.assert_allclose(b @ a, step, atol=1e-4 / GAMMA, err_msg=name)
        root = np.sqrt(sigma[:RANK] / sigma[0] / GAMMA)
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), root, rtol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(b, axis=0), root, rtol=1e-3)
        assert layer.scaling["default"] == SCALE
        assert torch.equal(layer.get_base_layer().weight, before[name])
    assert not variant.initial


def test_the_start_lowers_the_loss_of_its_samples(fresh, build, calibration):
    base = fresh("tiny")
    samples = calibration(base)
    examples = samples.corpus.encode(samples.indices[:8])
    ids, mask, predict = collate(examples, base.tokenizer.pad_token_id, base.device)
    labels = torch.full_like(ids, -100)
    labels[:, 1:][predict[:, :-1]] = ids[:, 1:][predict[:, :-1]]

    def loss(model):
        with torch.no_grad():
            return float(model(input_ids=ids, attention_mask=mask, labels=labels).loss)

    before = loss(base.model)
    after = loss(build("lora_one").attach(base.model, seed.generator(0, "init"), samples))
    assert after < before - 0.01


def reference(model, weights, factors, batches, collated, damping, settings):
    """Three steps of AdamW in plain torch: W + s·BA put into the untouched model by hand."""
    moments = {key: (torch.zeros_like(p), torch.zeros_like(p)) for key, p in factors.items()}
    for step in range(STEPS):
        leaves = {key: p.clone().requires_grad_(True) for key, p in factors.items()}
        full = {name: w + SCALE * leaves[name, "B"] @ leaves[name, "A"] for name, w in weights.items()}
        ids, mask, labels = collated(batches[step])
        call = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        parameters = {f"{name}.weight": weight for name, weight in full.items()}
        loss = torch.func.functional_call(model, parameters, kwargs=call).loss
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        norm = torch.stack([g.norm() for g in gradients.values()]).norm()
        gradients = {key: g * min(1, settings.max_grad_norm / (norm + 1e-6)) for key, g in gradients.items()}
        updates = {}
        for name in weights:
            a, b = factors[name, "A"], factors[name, "B"]
            for_a, for_b = gradients[name, "A"], gradients[name, "B"]
            if damping is not None:
                identity = damping * torch.eye(RANK, dtype=torch.float64)
                for_a = (torch.linalg.inv(b.T.double() @ b.double() + identity) @ for_a.double()).float()
                for_b = (for_b.double() @ torch.linalg.inv(a.double() @ a.T.double() + identity)).float()
            updates |= {(name, "A"): for_a, (name, "B"): for_b}
        rate, (beta1, beta2) = LR * lr_factor(step, STEPS, settings.warmup_ratio), settings.betas
        for key, g in updates.items():
            m, v = moments[key]
            m.mul_(beta1).add_((1 - beta1) * g)
            v.mul_(beta2).add_((1 - beta2) * g**2)
            root = (v / (1 - beta2 ** (step + 1))).sqrt() + settings.eps
            factors[key] = factors[key] * (1 - rate * settings.weight_decay) - rate * m / (1 - beta1 ** (step + 1)) / root
    return factors


@pytest.mark.parametrize("damping", [None, 1e-3, 1e-6])
def test_three_steps_of_training(damping, fresh, build, calibration, settings):
    base = fresh("qwen3")
    samples, trainer = calibration(base), settings(warmup_ratio=0.0, max_grad_norm=0.5, weight_decay=0.1, eps=1e-6)
    untouched = copy.deepcopy(base.model)
    batches = [range(8 * step, 8 * step + 8) for step in range(STEPS)]
    variant = build("lora_one", alpha=ALPHA, damping=damping)
    adapted = variant.attach(base.model, seed.generator(0, "init"), samples)
    layers = dict(adapter_layers(adapted))
    weights = {name: untouched.get_parameter(f"{name}.weight") for name in layers}

    def current():
        return {
            (name, key): getattr(layer, f"lora_{key}")["default"].weight.detach().clone()
            for name, layer in layers.items()
            for key in "AB"
        }

    def collated(batch):
        ids, mask, predict = collate(samples.corpus.encode(batch), base.tokenizer.pad_token_id, base.device)
        labels = torch.full_like(ids, -100)
        labels[:, 1:][predict[:, :-1]] = ids[:, 1:][predict[:, :-1]]
        return ids, mask, labels

    start = current()
    expected = reference(untouched, weights, dict(start), batches, collated, damping, trainer)
    train(adapted, variant, samples.corpus, batches, lr=LR, settings=trainer, dropout_seed=0)
    moved = current()
    for key, value in moved.items():
        assert (value - expected[key]).norm() <= 0.02 * (value - start[key]).norm(), key


def test_an_interrupted_run_goes_on_to_the_same_bits(cell, run_until, tmp_path):
    small = ["train_samples=64", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
    words = [*small, "variant=lora_one", "variant.damping=1e-6", "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, 4)
    run(broken)
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.record()["training"]["optimizer"].endswith("PreconditionedAdamW")


def test_gradients_are_left_as_they_were(fresh, build, calibration, batch):
    base = fresh("llama")
    variant = build("lora_one", damping=1e-6)
    adapted = variant.attach(base.model, seed.generator(0, "init"), calibration(base))
    optimizer = variant.optimizer(adapted, 1e-3)
    ids, mask = batch(base)
    adapted(input_ids=ids, attention_mask=mask).logits.square().mean().backward()
    before = {name: p.grad.clone() for name, p in variant.trained(adapted).items()}
    optimizer.step()
    assert all(torch.equal(p.grad, before[name]) for name, p in variant.trained(adapted).items())


def test_a_gradient_of_zero_is_refused(fresh, build, calibration):
    base = fresh("llama")
    for layer in base.model.model.layers:
        layer.mlp.down_proj.weight.data.zero_()  # no gradient reaches gate_proj
    with pytest.raises(UserError, match=r"gradient of model.layers.0.mlp.gate_proj on the samples is not a finite one"):
        build("lora_one").attach(base.model, seed.generator(0, "init"), calibration(base))
