"""ReLoRA: restarts against a float64 loop of plain tensors, the schedule, what is kept over an interruption, and what is saved."""

import json
import math

import numpy as np
import pytest
import torch
from peft import PeftModel

from hessian import starts
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.schedule import lr_factor
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers
from lorabench.variants.relora import prune

SMALL = ["variant=relora", "train_samples=96", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
DRAWS = 3  # the seed of what is drawn while training


def weights(base):
    return {name: p.detach().double().clone() for name, p in base.model.named_parameters() if "_proj" in name}


@pytest.fixture
def trained(corpus, settings, build):
    """A function from a ``Base`` and the variant's fields to model, variant and training of 9 steps."""

    def train_on(base, lr=2e-2, steps=9, name="relora", **fields):
        variant = build(name, **fields)
        model = variant.attach(base.model, generator(0, "init"))
        rows = [list(range(8))] * steps
        done = train(model, variant, corpus, rows, lr=lr, settings=settings(eps=1e-3), dropout_seed=DRAWS)
        return model, variant, done

    return train_on


def pruned(moment, share):
    """The moment without the ``share`` of its values that are smallest in magnitude."""
    order = np.argsort(np.abs(moment.numpy()).ravel())
    flat = moment.numpy().ravel().copy()
    flat[order[: round(share * len(order))]] = 0
    return torch.from_numpy(flat.reshape(moment.shape))


class Reference:
    """W, A, B and AdamW's moments of all matrices in float64, and the restarts of Lialin et al., section 3."""

    def __init__(self, base, scale, rank):
        self.model, self.scale = base.model.double(), scale
        self.names = [name for name, module in base.model.named_modules() if name.endswith("_proj")]
        self.factors, self.moments = {}, {}
        draws = generator(0, "init")
        torch.randint(2**62, (), generator=draws)  # what attach seeds PEFT's own draw with
        for name in self.names:
            m, n = self.model.get_submodule(name).weight.shape
            a = ((2 * torch.rand(rank, n, generator=draws) - 1) / math.sqrt(n)).double()
            self.factors[name] = [a.requires_grad_(True), torch.zeros(m, rank).double().requires_grad_(True)]
            self.moments[name] = [[torch.zeros_like(f), torch.zeros_like(f)] for f in self.factors[name]]
            self.model.get_submodule(name).register_forward_hook(self.hook(name))

    def hook(self, name):
        def add(module, args, output):
            a, b = self.factors[name]
            return output + self.scale * args[0] @ a.T @ b.T

        return add

    @torch.no_grad()
    def restart(self, share):
        for name in self.names:
            a, b = self.factors[name]
            self.model.get_submodule(name).weight += self.scale * b @ a
            a.copy_((2 * torch.rand(a.shape, dtype=torch.float32) - 1) / math.sqrt(a.shape[1]))
            b.zero_()
            self.moments[name] = [[pruned(moment, share) for moment in pair] for pair in self.moments[name]]

    def step(self, examples, lr, t, settings):
        total = 0.0
        for example in examples:
            ids = torch.tensor([example.ids])
            logits = self.model(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
        loss = total / sum(example.target_tokens for example in examples)
        factors = [f for name in self.names for f in self.factors[name]]
        gradients = torch.autograd.grad(loss, factors)
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        clip = min(1.0, settings.max_grad_norm / float(norm))
        (beta1, beta2), eps = settings.betas, settings.eps
        with torch.no_grad():
            moments = [pair for name in self.names for pair in self.moments[name]]
            for f, g, pair in zip(factors, gradients, moments, strict=True):
                g = g * clip
                pair[0] = beta1 * pair[0] + (1 - beta1) * g
                pair[1] = beta2 * pair[1] + (1 - beta2) * g**2
                f *= 1 - lr * settings.weight_decay
                f -= lr * (pair[0] / (1 - beta1**t)) / ((pair[1] / (1 - beta2**t)).sqrt() + eps)
        return float(loss.detach())

    @torch.no_grad()
    def whole(self, name):
        a, b = self.factors[name]
        return self.model.get_submodule(name).weight + self.scale * b @ a


@pytest.mark.parametrize("pruning", [1.0, 0.5])
def test_three_cycles_are_those_of_a_plain_float64_loop(pruning, fresh, corpus, settings, trained, relative):
    base, other = fresh("tiny"), fresh("tiny")
    before = weights(other)
    fields = {"restarts": 2, "pruning": pruning, "restart_warmup": 0.6}  # 2 of a cycle's 3 steps
    model, variant, done = trained(base, alpha=12, **fields)
    reference, trainer = Reference(other, 12 / 8, 8), settings(eps=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(DRAWS)
        for step in range(9):
            if step in (3, 6):
                reference.restart(pruning)
            lr = 2e-2 * lr_factor(step, 9, trainer.warmup_ratio)
            if step >= 3:
                lr *= [0, 0.5, 1][step % 3]
            loss = reference.step(corpus.encode(range(8)), lr, step + 1, trainer)
            assert done.lr[step] == [pytest.approx(lr)], step
            assert done.loss[step] == pytest.approx(loss, rel=1e-4), step
    merged = variant.merged(model)
    for name in reference.names:
        key = f"{name}.weight"
        moved, expected = merged[key].double() - before[key], reference.whole(name) - before[key]
        assert relative(moved, expected) <= 5e-3, name
        assert torch.linalg.matrix_rank(expected, rtol=1e-9) == 24  # (restarts + 1) · r


def test_pruning_keeps_the_largest_values_of_each_moment():
    parameter = torch.nn.Parameter(torch.zeros(4, 25))
    optimizer = torch.optim.AdamW([parameter])
    first, second = torch.randn(4, 25), torch.rand(4, 25)
    for share, left in ((0.99, 1), (0.9, 10), (1.0, 0), (0.0, 100)):
        optimizer.state[parameter] = {"step": torch.tensor(7.0), "exp_avg": first.clone(), "exp_avg_sq": second.clone()}
        prune(optimizer, share)
        state = optimizer.state[parameter]
        assert state["step"] == 7
        for key, moment in (("exp_avg", first), ("exp_avg_sq", second)):
            assert state[key].count_nonzero() == left
            assert torch.equal(state[key], pruned(moment, share))


def test_a_restart_leaves_the_function_and_starts_factors_and_moments_anew(fresh, build, attach, shift, logits, relative):
    base = fresh("tiny")
    variant = build("relora", alpha=12)
    model = attach(variant, base)
    shift(model)
    expected = logits(base, model)
    old = [layer.lora_A["default"].weight.detach().clone() for _, layer in adapter_layers(model)]
    optimizer = variant.optimizer(model, 1e-3)
    for p in variant.trained(model).values():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for group in optimizer.param_groups:  # the step is taken back: what counts is the moments
        for p in group["params"]:
            p.data.add_(1e-3)
    variant.before_step(model, optimizer, 5, 20)
    assert relative(logits(base, model), expected) <= 1e-3
    assert [group["lr"] for group in optimizer.param_groups] == [0.0]
    assert not any(moment.any() for state in optimizer.state.values() for key, moment in state.items() if key != "step")
    for (_, layer), before in zip(adapter_layers(model), old, strict=True):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        assert not torch.equal(a, before) and a.abs().max() <= a.shape[1] ** -0.5 and not b.any()


def test_without_restarts_it_is_lora_to_the_bit(fresh, trained):
    models = [trained(fresh("tiny"), name=name, **fields)[0] for name, fields in (("relora", {"restarts": 0}), ("lora", {}))]
    factors = [dict(model.named_parameters()) for model in models]
    assert all(torch.equal(p, factors[1][name]) for name, p in factors[0].items())


def test_plain_peft_loads_the_sum_of_the_updates_on_the_untouched_base(tmp_path, fresh, trained, logits, base_logits, relative):
    base, untouched = fresh("tiny"), fresh("tiny")
    model, variant, _ = trained(base, alpha=12, restarts=2)
    variant.save(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (24, 36)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(base, model), base_logits("tiny")) > 1e-2
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize("step", [2, 3, 7])  # within the first cycle, at its end, and after two restarts
def test_an_interrupted_run_goes_on_to_the_same_bits(cell, tmp_path, run_until, step):
    words = [*SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, step)
    run(broken)
    for key in ("loss", "lr"):
        assert broken.record()["training"][key] == whole.record()["training"][key]
    for file in ("trained.safetensors", "adapter/adapter_model.safetensors"):
        assert (broken.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    rates = [rate for _, [rate] in whole.record()["training"]["lr"]]
    assert [step for step, rate in enumerate(rates) if rate == 0] == [0, 3, 6, 9]


def test_a_trained_cell_is_brought_back_on_its_merged_base(cell, fresh, tiny, batch):
    run(made := cell(*SMALL, "save_adapter=true"))
    assert not (made.folder / "adapter" / "merged.safetensors").exists()
    untouched = fresh("tiny")
    loaded = PeftModel.from_pretrained(untouched.model, made.folder / "adapter")
    ids, mask = batch(tiny)
    with starts.adapted_model(tiny, made.variant, 0, None) as model, torch.no_grad():
        starts.load_cell(tiny, made.variant, model, made.folder)
        expected = loaded(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"restarts": -1}, "variant.restarts=-1 must be at least 0"),
        ({"pruning": 1.5}, r"variant.pruning=1.5 must lie in \[0, 1\]"),
        ({"restart_warmup": 1}, r"variant.restart_warmup=1 must lie in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words):
        build("relora", **fields).check(linear_shapes(tiny.spec))


def test_more_restarts_than_the_steps_allow_are_refused(cell, build):
    with pytest.raises(
        UserError, match=r"restarts=3 needs at least 8 steps, and the run has 7; use variant.restarts=2 at the most"
    ):
        build("relora").check_steps(7)
    build("relora").check_steps(8)
    build("relora", restarts=2).check_steps(7)
    build("relora", restarts=0).check_steps(1)
