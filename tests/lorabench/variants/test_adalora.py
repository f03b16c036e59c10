"""AdaLoRA against its definition and against PEFT's allocator: masks, steps, an interruption, and what is saved."""

import json
import warnings

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.adalora import triplets
from lorabench.variants.optimizers.ranks import Allocation, Budget

SMALL = ["variant=adalora", "train_samples=160", "task.test_samples=2", "task.validation_samples=2", "lr=2e-2"]
SHARES = {"warmup_share": 0.1, "final_share": 0.3, "interval_share": 0.001}


def ranks(model):
    return {name: int((values != 0).sum()) for name, (_, values, _) in triplets(model).items()}


@pytest.mark.parametrize(("warmup", "final", "interval"), [(3, 6, 1), (0, 4, 3), (2, 0, 2)])
def test_masks_are_those_of_pefts_allocator(fresh, build, attach, warmup, final, interval):
    """The same parameters and gradients, drawn at random for 20 steps."""
    total, means = 20, []
    ours = attach(build("adalora"), fresh("llama"))
    config = AdaLoraConfig(
        init_r=12,
        target_r=8,
        tinit=warmup,
        tfinal=final,
        deltaT=interval,
        total_step=total,
        target_modules=build("adalora").target_modules,
        task_type="CAUSAL_LM",
    )
    theirs = get_peft_model(fresh("llama").model, config)
    factors = [[f for parts in triplets(model).values() for f in parts] for model in (ours, theirs)]
    pairs = list(zip(*factors, strict=True))
    matrices = len(triplets(ours))
    allocation, budget = Allocation((0.85, 0.85)), Budget(12 * matrices, 8 * matrices, warmup, final, interval, total)
    draw = torch.Generator().manual_seed(0)
    for step in range(1, total + 1):
        for p, q in pairs:
            with torch.no_grad():
                p.copy_(p + 0.1 * torch.randn(p.shape, generator=draw) if step > 1 else torch.randn(p.shape, generator=draw))
                q.copy_(p)
            p.grad = torch.randn(p.shape, generator=draw)
            q.grad = p.grad.clone()
        allocation.follow(triplets(ours), budget, step)
        theirs.base_model.update_and_allocate(step)
        assert all(torch.equal(p, q) for p, q in pairs), step
        means.append(sum(ranks(ours).values()) / matrices)
    assert means[: max(warmup, 1) - 1] == [12] * (max(warmup, 1) - 1)
    assert set(means[total - final - 1 :]) == {8}
    assert len(set(ranks(ours).values())) > 1  # not the same in each matrix


def test_the_budget_falls_with_the_cube():
    budget = Budget(initial=120, target=80, warmup=10, final=30, interval=5, total=100)
    assert [budget.at(step) for step in (11, 40, 70)] == [int(80 + 40 * (59 / 60) ** 3), 85, 80]
    assert [step for step in range(1, 101) if budget.chooses(step)] == [*range(15, 70, 5), 70]


class Reference:
    """One run in float64: AdamW on W + s·PΛQ with the penalty, and the choice of triplets written out entry by entry."""

    def __init__(self, factors, scale, gamma):
        self.factors = {name: [f.detach().double().requires_grad_() for f in parts] for name, parts in factors.items()}
        self.scale, self.gamma = scale, gamma
        self.mean = {name: [torch.zeros_like(f) for f in parts] for name, parts in self.factors.items()}
        self.spread = {name: [torch.zeros_like(f) for f in parts] for name, parts in self.factors.items()}

    def weight(self, name, weight):
        q, values, p = self.factors[name]
        return weight + self.scale * p @ torch.diag(values[:, 0]) @ q

    def penalty(self):
        distances = []
        for q, _, p in self.factors.values():
            for gram in (q @ q.T, p.T @ p):
                distances.append((gram - torch.eye(len(gram), dtype=gram.dtype)).square().sum().sqrt())
        return self.gamma * sum(distances) / len(distances)

    def observe(self):
        for name, parts in self.factors.items():
            for place, factor in enumerate(parts):
                now = (factor * factor.grad).abs().detach()
                self.mean[name][place] = 0.85 * self.mean[name][place] + 0.15 * now
                self.spread[name][place] = 0.85 * self.spread[name][place] + 0.15 * (now - self.mean[name][place]).abs()

    def choose(self, count):
        scores = {}
        for name in self.factors:
            q, values, p = (a * b for a, b in zip(self.mean[name], self.spread[name], strict=True))
            for i in range(len(q)):
                scores[name, i] = float(values[i, 0] + q[i].mean() + p[:, i].mean())
        self.kept = set(sorted(scores, key=scores.get, reverse=True)[:count])

    def prune(self):
        with torch.no_grad():
            for name, (_, values, _) in self.factors.items():
                for i in range(len(values)):
                    if (name, i) not in self.kept:
                        values[i] = 0


@pytest.mark.parametrize("gamma", [0.1, 0.0])
def test_each_step_is_that_of_the_definition(fresh, build, corpus, settings, loss_of, relative, gamma):
    base, plain = fresh("tiny"), fresh("tiny").model.double()
    total, warmup, final = 10, 1, 3
    method = build("adalora", rank=2, alpha=3, orthogonality=gamma, **SHARES)
    model = method.attach(base.model, generator(3, "init"))
    assert all(not values.any() and abs(p.detach().std() - 0.02) < 2e-3 for _, values, p in triplets(model).values())
    reference = Reference(triplets(model), 3 / 2, gamma)
    matrices = len(reference.factors)
    trainer = settings(weight_decay=0.1, max_grad_norm=0.3)
    parameters = [f for parts in reference.factors.values() for f in parts]
    adamw = torch.optim.AdamW(parameters, betas=trainer.betas, eps=trainer.eps, weight_decay=0.1)
    done = train(model, method, corpus, [list(range(8))] * total, lr=1e-2, settings=trainer, dropout_seed=0)
    for step, (rate, norm, loss) in enumerate(zip(done.lr, done.grad_norm, done.loss, strict=True), 1):
        weights = {
            f"{name}.weight": reference.weight(name, plain.get_parameter(f"{name}.weight")) for name in reference.factors
        }
        expected = loss_of(plain, weights, corpus.encode(range(8)))
        adamw.zero_grad()
        (expected + reference.penalty()).backward()
        full = torch.nn.utils.clip_grad_norm_(parameters, trainer.max_grad_norm)
        assert loss == pytest.approx(expected.item(), rel=1e-5), step  # recorded without the penalty
        assert norm == pytest.approx(full.item(), rel=1e-3), step
        adamw.param_groups[0]["lr"] = rate[0]
        adamw.step()
        if step < total - final:
            reference.observe()
        if warmup < step <= total - final:
            left = 1 - (step - warmup) / (total - final - warmup)
            reference.choose(int((3 - 2) * matrices * left**3 + 2 * matrices))
        if step > warmup:
            reference.prune()
    for name, factors in triplets(model).items():
        for factor, expected in zip(factors, reference.factors[name], strict=True):
            assert torch.equal(factor == 0, expected == 0), name
            assert not expected.any() or relative(factor.double(), expected) <= 2e-3, name
    assert sum(ranks(model).values()) == 2 * matrices and len(set(ranks(model).values())) > 1


@pytest.mark.parametrize("step", [4, 14])  # while the ranks fall, and when they have settled
def test_an_interrupted_run_goes_on_to_the_same_bits(cell, tmp_path, run_until, step):
    words = [*SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, step)
    run(cell(*words, f"output_dir={tmp_path / 'broken'}"))
    for key in ("loss", "grad_norm"):
        assert broken.record()["training"][key] == whole.record()["training"][key]
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()
    config = json.loads((broken.folder / "adapter" / "adapter_config.json").read_text())
    assert (config["total_step"], config["tinit"], config["tfinal"], config["deltaT"]) == (20, 3, 10, 1)
    left = sum(map(sum, config["rank_pattern"].values())) / len(config["rank_pattern"])
    assert 8 <= left < 9  # one that is 0 is kept of a matrix without any


@pytest.mark.parametrize("left", ["some", "none of a matrix", "all", "none"])
def test_a_pruned_adapter_loads_with_the_ranks_that_are_left(left, tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("gemma3"), fresh("gemma3")
    method = build("adalora", alpha=12)
    model = attach(method, base)
    shift(model, 0.1)
    with torch.no_grad():
        for number, (_, values, _) in enumerate(triplets(model).values()):
            values[{"some": number % 12, "none of a matrix": 12 * (number % 2), "all": 12, "none": 0}[left] :] = 0
    expected = logits(base, model)
    total = sum(max(1, rank) for rank in ranks(model).values())  # of a matrix without any the file has one that is 0
    with warnings.catch_warnings(action="error"):
        method.save(model, tmp_path)
    assert torch.equal(logits(base, model), expected)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(untouched, loaded), expected) <= 1e-5
    assert sum(len(values) for _, values, _ in triplets(loaded).values()) == total


def test_counts_are_those_of_the_model(fresh, build, attach):
    base = fresh("gemma3")
    method = build("adalora", rank=5)
    shapes, model = linear_shapes(base.spec), attach(method, base)
    assert method.trainable_parameters(shapes) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert {len(values) for _, values, _ in triplets(model).values()} == {8}  # 1.5 · 5, to the even one
    method.after_step(model, method.optimizer(model, 1e-3), 1, 100)
    kept = [part for parts in method.state(model).values() for tensors in parts.values() for part in tensors]
    assert method.optimizer_bytes(shapes) == 8 * method.trainable_parameters(shapes) + sum(4 * part.numel() for part in kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"init_ratio": 1.0}, "variant.init_ratio=1.0 must be greater than 1"),
        ({"rank": 100}, "rank=100: variant=adalora starts with rank 150, more than .* allows"),
        ({"warmup_share": -0.1}, "variant.warmup_share=-0.1 must lie in"),
        ({"final_share": float("nan")}, "variant.final_share=nan must lie in"),
        ({"interval_share": 1.0}, "variant.interval_share=1.0 must lie in"),
        ({"warmup_share": 0.5}, "leave no part of the run in which ranks are chosen"),
        ({"beta1": 1.0}, "variant.beta1=1.0 must lie in"),
        ({"beta2": 0.0}, "variant.beta2=0.0 must lie in"),
        ({"orthogonality": -1.0}, "variant.orthogonality=-1.0 must be finite and at least 0"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words) as error:
        build("adalora", **fields).check(linear_shapes(tiny.spec))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("total", "fields", "fits"), [(4, {}, True), (3, {}, False), (2, {}, False), (3, {"final_share": 0.3}, True)]
)
def test_a_run_too_short_for_its_phases_is_refused(total, fields, fits, build, fresh, attach):
    method = build("adalora", **fields)
    if not fits:
        with pytest.raises(UserError, match=f"of {total} steps .* leaves none to choose ranks in"):
            method.check_steps(total)
        return
    method.check_steps(total)
    model = attach(method, fresh("llama"))
    for step in range(1, total + 1):
        for p in method.trained(model).values():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
            p.data.add_(p.grad)
        method.after_step(model, None, step, total)
    assert sum(ranks(model).values()) == 8 * len(ranks(model))
