"""A variant's hooks around a step: what they change is what runs and what is told, and what they keep survives an interruption."""

from typing import ClassVar

import pytest
import torch

from lorabench.cells.run import run
from lorabench.training.data import batches
from lorabench.training.loop import train
from lorabench.training.schedule import lr_factor
from lorabench.training.seed import generator
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=96", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
STEPS = 12
SEEN: list[tuple] = []


class Pulsed(LoRA):
    """Every third step has half the rate."""

    version: ClassVar[int] = 1

    def before_step(self, model, optimizer, step, total):
        SEEN.append(("before", step, total, optimizer.param_groups[0]["lr"]))
        for group in optimizer.param_groups:
            group["lr"] *= 0.5 if step % 3 == 2 else 1.0


class Onlooker(LoRA):
    """Looks at the gradients when the step is taken."""

    def after_step(self, model, optimizer, step, total):
        gradients = [p.grad for p in self.trained(model).values()]
        moved = any(optimizer.state[p]["step"] == step for p in self.trained(model).values())
        SEEN.append((step, total, moved, float(torch.nn.utils.get_total_norm(gradients))))


class Damped(LoRA):
    """Its rate falls with the mean gradient so far, which is kept from step to step."""

    version: ClassVar[int] = 1

    def before_step(self, model, optimizer, step, total):
        if step == 0:
            self.kept = {"mean": torch.zeros(()), "norms": [], "steps": 0, "deep": {"last": 0.0}}
        for group in optimizer.param_groups:
            group["lr"] /= 1 + float(self.kept["mean"])

    def after_step(self, model, optimizer, step, total):
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.trained(model).values()])
        self.kept["mean"] = 0.8 * self.kept["mean"] + 0.2 * norm
        self.kept["norms"].append(float(norm))
        self.kept["steps"] += 1
        self.kept["deep"]["last"] = float(norm)

    def state(self, model):
        return self.kept

    def load_state(self, model, state):
        self.kept = state


class Amnesic(Damped):
    """Begins anew after an interruption."""

    def load_state(self, model, state):
        self.kept = {"mean": torch.zeros(()), "norms": [], "steps": 0, "deep": {"last": 0.0}}


def test_a_rate_that_a_hook_changes_is_the_one_that_is_used_and_told(own, cell):
    SEEN.clear()
    run(made := own(Pulsed, *SMALL))
    training = made.record()["training"]
    scheduled = [3e-3 * lr_factor(step, STEPS, made.trainer.warmup_ratio) for step in range(STEPS)]
    assert [("before", step, STEPS, pytest.approx(scheduled[step])) for step in range(STEPS)] == SEEN  # nothing adds up
    used = [rate * (0.5 if step % 3 == 2 else 1) for step, rate in enumerate(scheduled)]
    assert [rates for _, rates in training["lr"]] == [[pytest.approx(rate)] for rate in used]
    assert training["optimizer"] == "torch.optim.adamw.AdamW"
    assert training["groups"] == [{"name": "0", "lr": 3e-3, "parameters": training["trainable_parameters"]}]
    run(lora := cell(*SMALL))
    losses = [[loss for _, loss in c.record()["training"]["loss"]] for c in (made, lora)]
    assert losses[0][:3] == losses[1][:3] and losses[0][3] != losses[1][3]  # the third step is the first that differs


def test_gradients_are_at_hand_after_the_step(own):
    SEEN.clear()
    run(made := own(Onlooker, *SMALL))
    norms = [norm for _, norm in made.record()["training"]["grad_norm"]]
    clipped = [pytest.approx(min(norm, made.trainer.max_grad_norm), rel=1e-4) for norm in norms]
    assert [(step, STEPS, True, norm) for step, norm in enumerate(clipped, 1)] == SEEN


def test_hooks_that_only_look_leave_the_bits_alone(own, cell):
    SEEN.clear()
    run(made := own(Onlooker, *SMALL))
    run(lora := cell(*SMALL))
    for key in ("loss", "grad_norm", "lr"):
        assert made.record()["training"][key] == lora.record()["training"][key]


@pytest.mark.parametrize(("cls", "same"), [(Damped, True), (Amnesic, False)])
@pytest.mark.parametrize("step", [1, 6])
def test_what_a_variant_keeps_goes_through_a_checkpoint(own, tmp_path, run_until, cls, same, step):
    words = [*SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (own(cls, *words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, step)
    if step == 1:
        same = True  # there was no checkpoint yet: it begins anew
    run(broken)
    for key in ("loss", "lr"):
        assert (broken.record()["training"][key] == whole.record()["training"][key]) == same
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert (files[0].read_bytes() == files[1].read_bytes()) == same


def test_a_run_that_diverged_takes_no_step_and_calls_no_hook_after_it(tiny, corpus, settings):
    SEEN.clear()
    variant = Onlooker(name="onlooker", rank=4, alpha=8, dropout=0.0, target_modules=["q_proj"])
    model = variant.attach(tiny.model, generator(0, "init"))
    schedule = batches(range(32), 8, 1, generator(0, "order"))
    training = train(model, variant, corpus, schedule, lr=1e38, settings=settings(), dropout_seed=0)
    variant.detach(model)
    assert training.diverged
    assert 1 <= training.steps == len(training.lr) == len(SEEN) < len(schedule)
