"""The loss and its gradient against the definition, whatever the micro-batches."""

import numpy as np
import pytest
import torch

from lorabench.training.loss import backward, losses_of, mean_loss, mean_loss_stderr, micro_batches_of, padding, summed_loss


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradient_are_the_token_mean_of_the_unpadded_batch(adapted, corpus, settings):
    examples = corpus.encode(range(6))
    total = torch.zeros(())
    for e in examples:  # one by one, all logits, no padding: the definition
        logits = adapted(input_ids=torch.tensor([e.ids])).logits[0]
        predictions = logits[e.prompt_length - 1 : -1].log_softmax(-1)
        total = total - predictions.gather(1, torch.tensor(e.ids[e.prompt_length :])[:, None]).sum()
    reference = total / sum(e.target_tokens for e in examples)
    reference.backward()
    expected = gradients(adapted)
    for budget in (60, 200, 8192):
        adapted.zero_grad()
        trainer, pad = settings(micro_batch_tokens=budget), corpus.tokenizer.pad_token_id
        assert backward(adapted, examples, trainer, pad) == pytest.approx(reference.item(), rel=1e-5)
        assert mean_loss(adapted, examples, trainer, pad) == pytest.approx(reference.item(), rel=1e-5)
        for name, gradient in gradients(adapted).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)


def test_padding_counts_what_the_micro_batches_hold_beside_the_tokens(corpus, settings):
    examples = corpus.encode(range(16))
    lengths = [len(e.ids) for e in examples]
    assert padding(examples, settings(max_padding=0)) == 0
    assert padding(examples, settings(max_padding=0.999)) == max(lengths) * 16 - sum(lengths)
    assert 0 < padding(examples, settings()) <= 0.1 / 0.9 * sum(lengths)


def test_losses_of_examples_make_up_the_mean(adapted, corpus, settings):
    examples, pad = corpus.encode(range(12)), corpus.tokenizer.pad_token_id
    alone = [losses_of(adapted, [example], settings(), pad)[1][0] for example in examples]
    tokens = sum(e.target_tokens for e in examples)
    for budget in (60, 8192):
        trainer = settings(micro_batch_tokens=budget)
        with torch.no_grad():
            groups = [[examples[i] for i in places] for places in micro_batches_of(examples, trainer)]
            total = sum(summed_loss(adapted, group, pad, torch.device("cpu")).item() for group in groups)
        passes = []
        handle = adapted.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        mean, losses = losses_of(adapted, examples, trainer, pad)
        handle.remove()
        assert mean == total / tokens  # to the bit, though each example's loss is told besides
        assert len(passes) == len(groups)
        assert losses == pytest.approx(alone, rel=1e-4)
        assert sum(losses) / tokens == pytest.approx(mean_loss(adapted, examples, trainer, pad), rel=1e-6)


@pytest.mark.parametrize("copies", [1, 3])
def test_the_error_of_a_mean_loss_is_its_spread_over_other_problems(copies):
    """400 draws of 300 groups of like examples: the mean of what is claimed against the spread of the means."""
    draw = np.random.default_rng(0)
    means, claimed = [], []
    for _ in range(400):
        tokens = draw.integers(5, 60, 300)
        losses = tokens * draw.gamma(4, 0.2, 300) + draw.normal(0, 2, 300)
        means.append(losses.sum() / tokens.sum())
        groups = [str(i) for i in range(300)] * copies
        claimed.append(mean_loss_stderr(losses.tolist() * copies, tokens.tolist() * copies, groups))
    assert np.mean(claimed) == pytest.approx(np.std(means), rel=0.1)  # 3 σ of a spread of 400


def test_the_error_of_tokens_of_equal_number_is_that_of_a_mean():
    losses = [1.0, 4.0, 2.5, 7.0]
    assert mean_loss_stderr(losses, [2] * 4, "abcd") == pytest.approx(np.std(losses, ddof=1) / 2 / 2)
    assert mean_loss_stderr(losses, [2] * 4, "aaaa") is None
