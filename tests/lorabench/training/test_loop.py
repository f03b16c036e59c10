import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from lorabench.training.checkpoint import Checkpoint
from lorabench.training.data import batches
from lorabench.training.seed import generator, stream_seed
from lorabench.train import Training, backward, lr_factor, train


@pytest.mark.parametrize("total", [1, 2, 10, 33, 150, 1000])
def test_schedule_is_transformers_cosine(total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_cosine_schedule_with_warmup(optimizer, math.ceil(0.03 * total), total)
    for step in range(total):
        assert lr_factor(step, total, 0.03) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradient_are_the_token_mean_of_the_unpadded_batch(adapted, corpus, settings):
    examples = corpus.encode(range(6))
    total = torch.zeros(())
    for e in examples:  # one by one, all logits, no padding: the definition
        logits = adapted(input_ids=torch.tensor([e.ids])).logits[0]
        chosen = logits[e.prompt_length - 1 : -1].log_softmax(-1)
        total = total - chosen.gather(1, torch.tensor(e.ids[e.prompt_length :])[:, None]).sum()
    reference = total / sum(e.target_tokens for e in examples)
    reference.backward()
    expected = gradients(adapted)
    for budget in (60, 200, 8192):
        adapted.zero_grad()
        loss = backward(adapted, examples, settings(micro_batch_tokens=budget), corpus.tokenizer.pad_token_id, Training())
        assert loss == pytest.approx(reference.item(), rel=1e-5)
        for name, gradient in gradients(adapted).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)


def test_counts_of_tokens(adapted, corpus, settings):
    done, examples = Training(), corpus.encode(range(16))
    backward(adapted, examples, settings(), corpus.tokenizer.pad_token_id, done)
    assert done.tokens == sum(len(e.ids) for e in examples)
    assert done.target_tokens == sum(e.target_tokens for e in examples)
    assert 0 < done.padding_tokens <= 0.1 / 0.9 * done.tokens


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
    assert torch.load(checkpoint.file, weights_only=True)["progress"]["steps"] == 4
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
    assert "checkpoint.pt cannot be read" in capsys.readouterr().err


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


def test_training_lowers_the_loss_and_repeats(tiny, lora, corpus, settings):
    first, one = trained(tiny, lora, corpus, settings)
    second, two = trained(tiny, lora, corpus, settings)
    assert first.loss[-1] < 0.5 * first.loss[0]
    assert first.loss == second.loss
    assert all(torch.equal(one[name], two[name]) for name in one)


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
