"""Delta-LoRA: steps of factors and weight against a float64 loop, an interruption, the saved form, mistakes."""

import pytest
import torch
from peft import PeftModel

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers

ALPHA, RATIO, LR, STEPS = 12, 2, 1e-2, 5
SCALE = ALPHA / 8
SMALL = ["variant=delta_lora", "variant.start=0.4", "train_samples=64", "batch_size=8", "task.test_samples=2", "lr=3e-3"]


def factors(layer):
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


@pytest.fixture
def trained(corpus, settings, build):
    """A function from a ``Base`` and the share at which W starts to move to variant, model, first factors and training."""

    def train_on(base, start):
        variant = build("delta_lora", alpha=ALPHA, ratio=RATIO, start=start)
        model = variant.attach(base.model, generator(0, "init"))
        pairs = {name: [f.detach().double().requires_grad_() for f in factors(layer)] for name, layer in adapter_layers(model)}
        done = train(model, variant, corpus, [list(range(8))] * STEPS, lr=LR, settings=settings(eps=1e-4), dropout_seed=0)
        return variant, model, pairs, done

    return train_on


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 3)])
def test_each_step_moves_factors_and_weight_as_in_the_paper(start, first, fresh, corpus, settings, loss_of, relative, trained):
    base, plain, untouched = fresh("tiny"), fresh("tiny").model.double(), fresh("tiny").model
    variant, model, pairs, done = trained(base, start)
    weights = {name: plain.get_parameter(f"{name}.weight").detach().clone() for name in pairs}
    trainer, every = settings(eps=1e-4), [f for pair in pairs.values() for f in pair]
    adamw = torch.optim.AdamW(every, betas=trainer.betas, eps=trainer.eps, weight_decay=trainer.weight_decay)
    for step, (rate, loss) in enumerate(zip(done.lr, done.loss, strict=True)):
        adapted = {f"{name}.weight": weights[name] + SCALE * b @ a for name, (a, b) in pairs.items()}
        expected = loss_of(plain, adapted, corpus.encode(range(8)))
        adamw.zero_grad()
        expected.backward()
        torch.nn.utils.clip_grad_norm_(every, trainer.max_grad_norm)
        adamw.param_groups[0]["lr"] = rate[0]
        before = {name: (b @ a).detach() for name, (a, b) in pairs.items()}
        adamw.step()
        if step >= first:
            for name, (a, b) in pairs.items():
                weights[name] = weights[name] + RATIO * SCALE * (b @ a - before[name]).detach()
        assert loss == pytest.approx(expected.item(), rel=1e-5), step
    merged = variant.merged(model)
    for name, layer in adapter_layers(model):
        start_weight = untouched.get_parameter(f"{name}.weight").double()
        a, b = pairs[name]
        moved = weights[name] - start_weight
        assert relative(layer.get_base_layer().weight.double() - start_weight, moved) <= 1e-2, name
        assert relative(merged[f"{name}.weight"].double() - start_weight, moved + (SCALE * b @ a).detach()) <= 1e-2, name


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_plain_peft_loads_the_sum_of_the_updates(start, tmp_path, fresh, trained, logits, base_logits, relative):
    base, untouched = fresh("tiny"), fresh("tiny")
    variant, model, _, _ = trained(base, start)
    variant.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert (loaded.peft_config["default"].r, loaded.peft_config["default"].lora_alpha) == (24, 3 * ALPHA)
    assert relative(logits(base, model), base_logits("tiny")) > 1e-2
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize("step", [2, 5])  # before W moves, and after
def test_an_interrupted_run_goes_on_to_the_same_bits_and_the_base_comes_back(cell, tmp_path, run_until, step):
    words = [*SMALL, "task.validation_samples=2", "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, step)
    run(broken)
    assert broken.record()["training"]["loss"] == whole.record()["training"]["loss"]
    for file in ("trained.safetensors", "adapter/adapter_model.safetensors"):
        assert (broken.folder / file).read_bytes() == (whole.folder / file).read_bytes()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ratio": -1.0}, r"variant\.ratio=-1.0 must be at least 0"),
        ({"start": 1.0}, r"variant\.start=1.0 must lie in \[0, 1\)"),
        ({"dropout": 0.1}, r"variant\.dropout=0.1: Delta-LoRA drops no input"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words):
        build("delta_lora", **fields).check(linear_shapes(tiny.spec))
