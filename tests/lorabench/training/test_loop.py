"""The training loop: what it counts, that it repeats its bits, and that an interrupted run goes on to the same ones."""

import math

import pytest
import torch

from lorabench.errors import UserError
from lorabench.training.checkpoint import Checkpoint
from lorabench.training.data import batches
from lorabench.training.loop import train
from lorabench.training.sealed import read_sealed
from lorabench.training.seed import generator, stream_seed
from lorabench.variants.lora import LoRA


def run(model, lora, corpus, settings, checkpoint=None, on_step=lambda done, total: None, lr=1e-2, dropout_seed=7):
    schedule = batches(range(48), 8, 2, generator(0, "order"))
    return train(
        model,
        lora,
        corpus,
        schedule,
        lr=lr,
        settings=settings(checkpoint_minutes=0),
        dropout_seed=dropout_seed,
        checkpoint=checkpoint,
        on_step=on_step,
    )


def trained(tiny, lora, *args, **kwargs):
    """Attach, train, and return (result, trained parameters); the model is clean again afterwards."""
    model = lora.attach(tiny.model, generator(0, "init"))
    try:
        done = run(model, lora, *args, **kwargs)
        return done, {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    finally:
        lora.detach(model)


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_bits(tiny, lora, corpus, settings, tmp_path):
    lora.dropout = 0.2  # so that the random state matters too
    whole, expected = trained(tiny, lora, corpus, settings)

    def interrupt(done, total):
        if done.steps == 5:
            raise Interrupted

    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", minutes=0)
    with pytest.raises(Interrupted):
        trained(tiny, lora, corpus, settings, checkpoint, interrupt)
    assert read_sealed(checkpoint.file)["progress"]["steps"] == 4
    torch.rand(3)  # another state of the global generator, as in a new process
    steps = []
    resumed, parameters = trained(tiny, lora, corpus, settings, checkpoint, lambda done, total: steps.append(done.steps))
    assert steps == list(range(5, 13))  # it went on, it did not begin again
    assert resumed.loss == whole.loss
    assert len(whole.loss) == resumed.steps == 12
    for name, p in parameters.items():
        assert torch.equal(p, expected[name]), name


def test_a_damaged_checkpoint_is_told_and_the_run_begins_anew(tiny, lora, corpus, settings, tmp_path, capsys):
    (tmp_path / "checkpoint.pt").write_bytes(b"junk")
    done, _ = trained(tiny, lora, corpus, settings, Checkpoint(tmp_path / "checkpoint.pt", minutes=60))
    assert done.steps == 12
    line = (
        "checkpoint.pt is no checkpoint of this cell (too short): set aside as checkpoint.pt.damaged, and the cell begins anew"
    )
    assert line in capsys.readouterr().err


def test_a_checkpoint_of_another_start_is_not_gone_on_from(tiny, lora, corpus, settings, tmp_path, capsys):
    def interrupt(done, total):
        if done.steps == 2:
            raise Interrupted

    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", minutes=0)
    with pytest.raises(Interrupted):
        trained(tiny, lora, corpus, settings, checkpoint, interrupt)
    model = lora.attach(tiny.model, generator(1, "init"))
    steps = []
    run(model, lora, corpus, settings, checkpoint, lambda done, total: steps.append(done.steps))
    lora.detach(model)
    assert steps[0] == 1
    assert "started from other values" in capsys.readouterr().err


def test_counts_of_tokens(tiny, lora, corpus, settings):
    training, _ = trained(tiny, lora, corpus, settings)
    examples = corpus.encode(range(48))  # each twice
    assert training.tokens == 2 * sum(len(e.ids) for e in examples)
    assert training.target_tokens == 2 * sum(e.target_tokens for e in examples)
    assert 0 < training.padding_tokens <= 0.1 / 0.9 * training.tokens


def test_training_lowers_the_loss_and_repeats(tiny, lora, corpus, settings):
    first, again = trained(tiny, lora, corpus, settings)
    second, two = trained(tiny, lora, corpus, settings)
    assert first.loss[-1] < 0.5 * first.loss[0]
    assert first.loss == second.loss
    assert all(torch.equal(again[name], two[name]) for name in again)


def test_a_run_that_is_not_finite_stops_and_says_so(tiny, lora, corpus, settings):
    done, _ = trained(tiny, lora, corpus, settings, lr=1e38)
    assert done.diverged
    assert done.steps < 12
    assert all(math.isfinite(loss) for loss in done.loss)


def test_dropout_stream_changes_only_dropout(tiny, lora, corpus, settings):
    lora.dropout = 0.2
    seeds = [stream_seed(s, "dropout") for s in (0, 1)]
    a, b = (trained(tiny, lora, corpus, settings, dropout_seed=s)[0] for s in seeds)
    assert a.loss[0] == b.loss[0]  # B = 0: the first loss is the base's, whatever is dropped
    assert a.loss[-1] != b.loss[-1]


class NaNAtTheStart(LoRA):
    def factors(self, name, weight, generator):
        a, b = super().factors(name, weight, generator)
        return a * math.nan, b


class TrainsNothing(LoRA):
    def trained(self, model):
        return {}


class Penalised(LoRA):
    def penalty(self, model):
        return PENALTIES[self.name]


PENALTIES = {"constant": torch.tensor(1.0), "several": torch.zeros(3, requires_grad=True)}


@pytest.mark.parametrize(
    ("cls", "name", "line"),
    [
        (NaNAtTheStart, "mine", "variant=mine: loss nan and gradient norm nan before the first step"),
        (TrainsNothing, "mine", r"variant=mine: its trained\(\) names no parameter"),
        (Penalised, "constant", r"variant=constant: its penalty\(\) must be one number that depends on what it trains"),
        (Penalised, "several", r"variant=several: its penalty\(\) must be one number that depends on what it trains"),
    ],
)
def test_a_loss_that_is_not_finite_before_a_step_and_what_cannot_be_trained_are_one_line(
    tiny, corpus, settings, cls, name, line
):
    variant = cls(name=name, rank=4, alpha=8, dropout=0.0, target_modules=["q_proj"])
    with pytest.raises(UserError, match=line):
        trained(tiny, variant, corpus, settings)
