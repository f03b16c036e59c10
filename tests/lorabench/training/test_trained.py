"""What a variant says that it trains is what moves, is counted, kept, merged and saved; anything else is refused."""

from typing import ClassVar

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from lorabench.cells import run, stages
from lorabench.cells.checks import check
from lorabench.errors import UserError
from lorabench.training.checkpoint import Checkpoint
from lorabench.training.data import batches
from lorabench.training.loop import train
from lorabench.training.sealed import read_sealed
from lorabench.training.seed import generator
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=64", "batch_size=8", "task.test_samples=4", "task.validation_samples=4", "lr=5e-3"]
OF_B = 8 * 4 * (4 * 128 + 2 * 352 + 128)  # rank, layers, and outputs of attention, gate and up, down
NORM = "model.norm.weight"


class LoRAFA(LoRA):
    """LoRA with A frozen (Zhang et al. 2023, arXiv 2308.03303)."""

    version: ClassVar[int] = 1

    def trained(self, model):
        return {name: p for name, p in super().trained(model).items() if "lora_B" in name}


class Forgetful(LoRA):
    """Its optimizer leaves B out."""

    def optimizer(self, model, lr, **adamw):
        return torch.optim.AdamW([p for name, p in self.trained(model).items() if "lora_A" in name], lr=lr, **adamw)


class Greedy(LoRA):
    """Its optimizer moves a weight of the base, too."""

    def optimizer(self, model, lr, **adamw):
        weight = model.get_base_model().get_parameter(NORM)
        return torch.optim.AdamW([*self.trained(model).values(), weight.requires_grad_(True)], lr=lr, **adamw)


class Silent(LoRA):
    """Trains the last norm beside the factors, and does not say that it touches it."""

    def trained(self, model):
        norms = {name: p for name, p in model.named_parameters() if name.endswith(NORM)}
        return {name: p for name, p in model.named_parameters() if "lora_" in name} | norms


class WithNorm(Silent):
    """Trains the last norm beside the factors."""

    def touched(self, names):
        return [*super().touched(names), NORM]


def factors_of(folder):
    """The saved adapter's A and B by their names in the model."""
    saved = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {name.replace(".weight", ".default.weight"): value for name, value in saved.items()}


# LoRA-FA: `trained` alone is overridden.


@pytest.fixture
def lora_fa(own):
    """A cell of LoRA-FA that has run."""
    run.run(made := own(LoRAFA, *SMALL, "save_adapter=true"))
    return made


def test_a_stays_where_it_started_and_b_moves(lora_fa):
    base = lora_fa.base()
    model = lora_fa.variant.attach(base.model, generator(0, "init"))
    start = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" in name}
    lora_fa.variant.detach(model)
    saved = factors_of(lora_fa.folder)
    assert saved.keys() == start.keys()
    for name, value in saved.items():
        assert torch.equal(value, start[name]) == ("lora_A" in name), name


def test_b_alone_is_counted_and_kept(lora_fa, cell):
    record = lora_fa.record()
    assert record["training"]["trainable_parameters"] == OF_B
    assert [group["parameters"] for group in record["training"]["groups"]] == [OF_B]
    kept = load_file(lora_fa.folder / "trained.safetensors")
    assert len(kept) == 28 and all("lora_B" in name for name in kept)
    assert record["status"] == "complete"
    run.run(lora := cell(*SMALL))
    losses = [[loss for _, loss in c.record()["training"]["loss"]] for c in (lora_fa, lora)]
    assert losses[0][0] == losses[1][0] and losses[0][-1] != losses[1][-1]
    assert lora_fa.id != lora.id


def test_its_curvature_is_not_taken_for_that_of_lora():
    assert LoRA.bilinear and not LoRAFA.bilinear


def test_a_checkpoint_holds_b_alone(tiny, corpus, settings, tmp_path):
    variant = LoRAFA(name="lora_fa", rank=4, alpha=8, dropout=0.0, target_modules=["q_proj"])
    model = variant.attach(tiny.model, generator(0, "init"))
    checkpoint, schedule = Checkpoint(tmp_path / "checkpoint.pt", minutes=0), batches(range(16), 8, 1, generator(0, "order"))
    train(model, variant, corpus, schedule, lr=1e-2, settings=settings(), dropout_seed=0, checkpoint=checkpoint)
    state = read_sealed(checkpoint.file)
    assert len(state["trained"]) == len(state["optimizer"]["state"]) == 4
    assert all("lora_B" in name for name in state["trained"])
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(state["trained"])
    variant.detach(model)


def test_it_goes_on_to_the_same_bits(lora_fa, own, tmp_path, run_until, following_steps):
    words = ["save_adapter=true", "trainer.checkpoint_minutes=0", f"output_dir={tmp_path / 'broken'}"]
    broken = own(LoRAFA, *SMALL, *words)
    run_until(broken, 4)
    steps = []
    with following_steps(lambda training: steps.append(training.steps)):
        run.run(broken)
    assert steps == [4, 5, 6, 7, 8]
    assert broken.record()["training"]["loss"] == lora_fa.record()["training"]["loss"]
    for name in ("trained.safetensors", "adapter/adapter_model.safetensors"):
        assert (broken.folder / name).read_bytes() == (lora_fa.folder / name).read_bytes()


def logits_of(model, tokenizer):
    ids = tokenizer("Q: Ada has 23 books. Ada buys 14 more. How many?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_merged_and_saved_adapter_are_the_trained_model(tiny, corpus, settings, tmp_path):
    variant = LoRAFA(name="lora_fa", rank=4, alpha=8, dropout=0.0, target_modules=["q_proj", "up_proj"])
    before = logits_of(tiny.model, tiny.tokenizer)
    model = variant.attach(tiny.model, generator(0, "init"))
    schedule = batches(range(32), 8, 1, generator(0, "order"))
    train(model, variant, corpus, schedule, lr=1e-2, settings=settings(), dropout_seed=0)
    expected, merged = logits_of(model, tiny.tokenizer), variant.merged(model)
    variant.save(model, tmp_path)
    variant.detach(model)
    assert not torch.allclose(expected, before, atol=1e-2)
    tiny.assign(merged)
    torch.testing.assert_close(logits_of(tiny.model, tiny.tokenizer), expected, rtol=1e-4, atol=1e-4)
    tiny.restore()
    loaded = PeftModel.from_pretrained(tiny.model, tmp_path)
    torch.testing.assert_close(logits_of(loaded, tiny.tokenizer), expected, rtol=1e-4, atol=1e-4)
    loaded.unload()


# An optimizer that does something else than `trained` says.


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            Forgetful,
            r"variant=forgetful: no group of its optimizer has .*lora_B\.default\.weight, which it says that it trains",
        ),
        (Greedy, r"variant=greedy: its optimizer moves parameters that its trained\(\) does not name"),
        (Silent, rf"variant=silent trains {NORM} of the base, which its touched\(\) does not name"),
    ],
)
def test_what_is_not_said_is_refused_in_one_line(own, cell, cls, message):
    with pytest.raises(UserError, match=message) as raised:
        run.run(made := own(cls, *SMALL))
    assert "\n" not in str(raised.value)
    assert made.record() is None
    again = cell(*SMALL)
    model = again.base().model
    assert not any("lora_" in name or p.requires_grad for name, p in model.named_parameters())  # nothing is left of it
    run.run(again)


# A weight of the base.


@pytest.fixture
def with_norm(own, monkeypatch):
    """A cell that trains the last norm too and has run, what was merged, and what its generator served."""
    made, trained, served = own(WithNorm, *SMALL, "save_adapter=true"), [], []
    with monkeypatch.context() as patch:
        patch.setattr(run, "train_cell", lambda *args: trained.append(stages.train_cell(*args)) or trained[-1])
        use = type(made.generator).use
        patch.setattr(type(made.generator), "use", lambda self, merged: served.append(merged) or use(self, merged))
        before = {name: p.detach().clone() for name, p in made.base().model.named_parameters()}
        run.run(made)
    return made, before, trained[0], served


def test_a_weight_of_the_base_is_trained_merged_and_scored(with_norm):
    made, before, trained, served = with_norm
    assert trained.parameters == made.record()["training"]["trainable_parameters"] == OF_B + trained_of_a() + 128
    assert trained.merged.keys() == {NORM, *(name for name in before if "proj" in name)}
    assert not torch.equal(trained.merged[NORM], before[NORM])
    assert any(weights is trained.merged for weights in served)  # what answered
    assert len(load_file(made.folder / "trained.safetensors")) == 57


def trained_of_a():
    return 8 * 4 * (4 * 128 + 2 * 128 + 352)


def test_the_base_has_its_bits_back(with_norm):
    made, before, _, _ = with_norm
    after = dict(made.base().model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(p, before[name]) for name, p in after.items())
    assert not any(p.requires_grad for p in after.values())


def test_what_no_adapter_can_hold_is_left_as_merged_weights(with_norm):
    made, _, trained, _ = with_norm
    folder = made.folder / "adapter"
    saved = load_file(folder / "merged.safetensors")
    assert saved.keys() == trained.merged.keys()
    assert all(torch.equal(value, trained.merged[name]) for name, value in saved.items())
    assert not (folder / "adapter_config.json").exists()


def test_that_it_is_left_so_is_said_in_one_line(own, capsys):
    run.run(made := own(WithNorm, *SMALL, "save_adapter=true", "seed=1"))
    [line] = [line for line in capsys.readouterr().err.splitlines() if "merged.safetensors" in line]
    assert line.startswith(f"variant=withnorm changes {NORM} of the base, which no PEFT adapter holds: {made.folder}/adapter/")


def test_it_goes_on_with_the_weight_of_the_base_too(own, with_norm, tmp_path, run_until):
    whole = with_norm[0]
    broken = own(WithNorm, *SMALL, "save_adapter=true", "trainer.checkpoint_minutes=0", f"output_dir={tmp_path / 'broken'}")
    run_until(broken, 4)
    run.run(broken)
    assert broken.record()["training"]["loss"] == whole.record()["training"]["loss"]
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_variant_that_fits_is_not_stopped_before(own):
    check(own(WithNorm, *SMALL))
