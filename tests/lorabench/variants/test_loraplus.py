"""LoRA+ against PEFT's own optimizer and a loop by hand."""

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from transformers import get_cosine_schedule_with_warmup

from lorabench.errors import UserError
from lorabench.training.loop import train
from lorabench.training.loss import backward
from lorabench.training.seed import generator

ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
BATCHES = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]


def rates_by_name(model, optimizer):
    """(learning rate, weight decay) of every parameter that the optimizer moves."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}


@pytest.mark.parametrize("ratio", [16, 0.5])
def test_every_factor_has_the_rate_that_peft_gives_it(fresh, build, attach, ratio):
    variant = build("loraplus", ratio=ratio)
    model = attach(variant, fresh("llama"))
    optimizer = variant.optimizer(model, 1e-3, **ADAMW)
    peft = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=ratio, loraplus_weight_decay=ADAMW["weight_decay"]
    )
    assert rates_by_name(model, optimizer) == rates_by_name(model, peft)
    assert [group["name"] for group in optimizer.param_groups] == ["lora_A", "lora_B"]
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, ratio * 1e-3]


def test_the_ratio_of_the_yaml_is_that_of_the_paper(build):
    assert build("loraplus").ratio == 16


def test_three_steps_are_those_of_pefts_optimizer(fresh, build, corpus, settings, relative):
    trainer = settings(warmup_ratio=0.0, weight_decay=0.1)
    moved = []
    for by_peft in (False, True):
        base, variant = fresh("tiny"), build("loraplus", rank=4)
        model = variant.attach(base.model, generator(0, "init")).double()  # so that Adam enlarges no rounding errors
        trained = variant.train_only(model)
        start = {name: p.detach().clone() for name, p in trained.items()}
        if by_peft:
            optimizer = create_loraplus_optimizer(
                model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16, loraplus_weight_decay=0.1
            )
            schedule = get_cosine_schedule_with_warmup(optimizer, 0, len(BATCHES))
            for batch in BATCHES:
                optimizer.zero_grad()
                backward(model, corpus.encode(batch), trainer, corpus.tokenizer.pad_token_id)
                torch.nn.utils.clip_grad_norm_(list(trained.values()), trainer.max_grad_norm)
                optimizer.step()
                schedule.step()
        else:
            train(model, variant, corpus, BATCHES, lr=1e-3, settings=trainer, dropout_seed=0)
        moved.append({name: p.detach() - start[name] for name, p in trained.items()})
    for name, change in moved[0].items():
        assert relative(change, moved[1][name]) <= 1e-9, name
    assert {name for name, change in moved[0].items() if change.abs().max() > 5e-3} == {n for n in moved[0] if "lora_B" in n}


@pytest.mark.parametrize("ratio", [0, -1, float("inf"), float("nan")])
def test_a_wrong_ratio_is_one_line(build, ratio):
    variant = build("loraplus", ratio=ratio)
    with pytest.raises(UserError, match=f"variant.ratio={ratio} must be positive") as error:
        variant.check(dict.fromkeys(variant.target_modules, (64, 64)))
    assert "\n" not in str(error.value)
