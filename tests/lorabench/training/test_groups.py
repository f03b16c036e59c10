"""Parameter groups keep their own rates: LoRA+, written as a contributor would, is what runs and what is told."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.trackers.base import Tracker
from lorabench.training.data import batches
from lorabench.training.loop import train
from lorabench.training.loss import backward
from lorabench.training.schedule import lr_factor
from lorabench.training.seed import generator
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=96", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=1e-3"]
SMALL += ["trainer.warmup_ratio=0.3"]
STEPS = 12
USED: list[list[float]] = []


@dataclass(kw_only=True)
class TwoRates(LoRA):
    """LoRA whose B is trained at ``ratio`` times the rate of A (Hayou et al. 2024, arXiv 2402.12354)."""

    version: ClassVar[int] = 1

    ratio: float = 16

    def optimizer(self, model, lr: float, **adamw: Any) -> torch.optim.Optimizer:
        trained = self.trained(model)
        groups = [
            {"params": [p for name, p in trained.items() if "lora_A" in name], "name": "lora_A"},
            {"params": [p for name, p in trained.items() if "lora_B" in name], "name": "lora_B", "lr": self.ratio * lr},
        ]
        return torch.optim.AdamW(groups, lr=lr, fused=True, **adamw)


class Watched(TwoRates):
    """Notes the rates that the optimizer has when it steps."""

    def optimizer(self, model, lr, **adamw):
        optimizer = super().optimizer(model, lr, **adamw)
        optimizer.register_step_pre_hook(lambda optimizer, *_: USED.append([g["lr"] for g in optimizer.param_groups]))
        return optimizer


class Recorder(Tracker):
    """Keeps the metrics of each step."""

    def __init__(self):
        super().__init__("recorder")
        self.metrics = []

    def start(self, cell):
        pass

    def step(self, step, metrics):
        self.metrics.append(metrics)

    def finish(self, record):
        pass


def expected():
    """A's and B's rate at every step."""
    factors = [lr_factor(step, STEPS, 0.3) for step in range(STEPS)]
    assert factors[:4] == [0.0, 0.25, 0.5, 0.75] and factors[4] == 1 and 0 < factors[-1] < 0.1
    return [pytest.approx([1e-3 * factor, 16e-3 * factor]) for factor in factors]


@pytest.fixture
def tracked(own, monkeypatch):
    """A cell of LoRA+ that has run, and what its tracker got."""
    tracker = Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(Session, "tracker", lambda session, node: tracker)
        run(made := own(TwoRates, *SMALL))
    return made, tracker.metrics


def test_b_runs_at_sixteen_times_the_rate_at_every_step(own):
    USED.clear()
    run(made := own(Watched, *SMALL))
    assert expected() == USED
    assert made.record()["training"]["lr"] == [[step, rates] for step, rates in enumerate(USED, 1)]


def test_the_record_says_so(tracked):
    training = tracked[0].record()["training"]
    inputs = 8 * 4 * (4 * 128 + 2 * 128 + 352)  # rank, layers; attention, gate and up, down
    outputs = 8 * 4 * (4 * 128 + 2 * 352 + 128)
    assert training["groups"] == [
        {"name": "lora_A", "lr": 1e-3, "parameters": inputs},
        {"name": "lora_B", "lr": 16e-3, "parameters": outputs},
    ]
    assert training["trainable_parameters"] == inputs + outputs
    assert [rates for _, rates in training["lr"]] == expected()


def test_the_tracker_says_so(tracked):
    made, metrics = tracked
    assert [[m["lr/lora_A"], m["lr/lora_B"]] for m in metrics] == [rates for _, rates in made.record()["training"]["lr"]]
    assert all("lr" not in m for m in metrics)


def test_it_is_not_lora(tracked, cell):
    made, _ = tracked
    run(lora := cell(*SMALL))
    losses = [[loss for _, loss in c.record()["training"]["loss"]] for c in (made, lora)]
    assert losses[0][:2] == losses[1][:2]  # the same start, and a first step at rate 0
    assert all(ours != theirs for ours, theirs in zip(losses[0][2:], losses[1][2:], strict=True))
    assert made.id != lora.id


def test_it_goes_on_to_the_same_bits(own, tmp_path, run_until, following_steps):
    whole, broken = (
        own(TwoRates, *SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0", f"output_dir={tmp_path / name}")
        for name in ("whole", "broken")
    )
    run(whole)
    run_until(broken, 6)
    steps = []
    with following_steps(lambda training: steps.append(training.steps)):
        run(broken)
    assert steps == list(range(6, STEPS + 1))
    for key in ("loss", "grad_norm", "lr", "groups"):
        assert broken.record()["training"][key] == whole.record()["training"][key]
    assert broken.record()["metrics"] == whole.record()["metrics"]
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_weights_are_those_of_torch_and_transformers_alone(tiny, corpus, settings):
    """A loop by hand: the same start and batches, AdamW with two groups, Transformers' schedule."""
    variant = TwoRates(name="plus", rank=4, alpha=8, dropout=0.0, target_modules=["q_proj", "up_proj"])
    schedule, trainer = batches(range(48), 8, 1, generator(0, "order")), settings(warmup_ratio=0.3)
    results = []
    for by_hand in (False, True):
        model = variant.attach(tiny.model, generator(0, "init"))
        trained = variant.trained(model)
        if by_hand:
            optimizer = torch.optim.AdamW(
                [
                    {"params": [p for name, p in trained.items() if "lora_A" in name], "lr": 1e-3},
                    {"params": [p for name, p in trained.items() if "lora_B" in name], "lr": 16e-3},
                ],
                weight_decay=0.0,
            )
            rates = get_cosine_schedule_with_warmup(optimizer, 2, 6)
            for batch in schedule:
                optimizer.zero_grad()
                backward(model, corpus.encode(batch), trainer, corpus.tokenizer.pad_token_id)
                torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
                optimizer.step()
                rates.step()
        else:
            train(model, variant, corpus, schedule, lr=1e-3, settings=trainer, dropout_seed=0)
        results.append({name: p.detach().clone() for name, p in trained.items()})
        variant.detach(model)
    assert max(float(value.abs().max()) for name, value in results[0].items() if "lora_B" in name) > 1e-2
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=0, atol=1e-4)  # of some 1e-2 that they moved
