"""The loss and its gradient against the definition, whatever the micro-batches."""

import pytest
import torch

from lorabench.training.loss import backward, mean_loss, padding


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
