"""The gradients of the full weights against autograd's, and that taking them leaves no trace."""

import pytest
import torch

from lorabench.training.data import collate


def names_of(model):
    return [name for name, _ in model.named_modules() if name.endswith("proj")]


def autograd(base, examples, names):
    """All gradients at once, of transformers' own loss on one padded batch: the mean over its target tokens."""
    ids, mask, predict = collate(examples, base.tokenizer.pad_token_id, base.device)
    labels = torch.full_like(ids, -100)
    labels[:, 1:][predict[:, :-1]] = ids[:, 1:][predict[:, :-1]]
    weights = [base.model.get_parameter(f"{name}.weight").requires_grad_(True) for name in names]
    loss = base.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    gradients = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
    base.model.requires_grad_(False)
    return gradients


@pytest.mark.parametrize("model", ["tiny", "gemma3"])
@pytest.mark.parametrize("budget", [2**30, 4 * 128 * 400, 1])  # one pass, several, one a matrix
def test_gradients_are_autograds(fresh, calibration, relative, model, budget):
    base = fresh(model)
    names = names_of(base.model)[:9]
    samples = calibration(base, budget=budget)
    expected = autograd(base, samples.corpus.encode(range(5)), names)
    gradients = dict(samples.gradients(base.model, names, 5))
    assert list(gradients) == names
    for name in names:
        assert relative(gradients[name], expected[name]) <= 1e-5, name


def test_micro_batches_do_not_change_the_loss(fresh, calibration, relative):
    base = fresh("tiny")
    names = names_of(base.model)[:3]
    whole, parts = calibration(base), calibration(base)
    parts.settings.micro_batch_tokens = 100
    gradients = [dict(samples.gradients(base.model, names, 32)) for samples in (whole, parts)]
    for name in names:
        assert relative(gradients[1][name], gradients[0][name]) <= 1e-5
        assert not torch.equal(gradients[1][name], gradients[0][name])  # it did take several


def test_one_gradient_at_a_time_and_no_trace(fresh, calibration):
    base = fresh("tiny")
    parameters = dict(base.model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    held = []

    def count(parameter):
        held.append(sum(p.grad is not None for p in parameters.values()))

    names = names_of(base.model)
    samples = calibration(base)
    # Seen from a hook that runs before the one which moves the gradient away: there is this gradient and no other.
    watched = [parameters[f"{name}.weight"].requires_grad_(True) for name in names]
    handles = [p.register_post_accumulate_grad_hook(count) for p in watched]
    list(samples.gradients(base.model, names, 4))
    for handle in handles:
        handle.remove()
    assert held == [1] * len(held)
    assert len(held) >= len(names)
    for name, p in parameters.items():
        assert p.grad is None
        assert not p.requires_grad
        assert not p._post_accumulate_grad_hooks
        assert torch.equal(p, before[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in base.model.modules())


def test_a_failure_in_between_leaves_no_trace(fresh, calibration, monkeypatch):
    base = fresh("llama")
    monkeypatch.setattr("lorabench.training.loss.micro_batches", lambda *_: [[0], [99]])
    with pytest.raises(IndexError):
        list(calibration(base).gradients(base.model, names_of(base.model), 4))
    assert not any(p.requires_grad or p.grad is not None or p._post_accumulate_grad_hooks for p in base.model.parameters())


def test_bfloat16_gradients_are_near_the_exact_ones(fresh, calibration, relative, to_bfloat16):
    base = fresh("tiny")
    names = names_of(base.model)
    exact = dict(calibration(base).gradients(base.model, names, 4))
    to_bfloat16(base)
    for name, gradient in calibration(base).gradients(base.model, names, 4):
        assert gradient.dtype == torch.float32
        assert relative(gradient, exact[name]) <= 0.1, name
