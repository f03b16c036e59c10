"""Gradient checkpointing: the same bits from less memory."""

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lorabench.errors import UserError
from lorabench.models.shapes import decoder_layers
from lorabench.schema import CONF
from lorabench.training import seed
from lorabench.training.loop import train
from lorabench.training.loss import backward

VARIANTS = sorted({file.stem for file in (CONF / "variant").glob("*.yaml")} - {"peft"})
BATCHES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13], [14, 15], [16, 17], [18, 19]]


def variant(name, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = OmegaConf.to_container(compose("config", [f"variant={name}", *overrides]).variant, resolve=True)
    return instantiate(node, _convert_="all")


def run(base, calibration, settings, method, wanted):
    """Losses and trained values of some steps in several micro-batches."""
    trainer = settings(gradient_checkpointing=wanted, micro_batch_tokens=100, max_padding=0.9)
    samples = calibration(base)
    adapted = method.attach(base.model, seed.generator(0, "init"), samples)
    training = train(adapted, method, samples.corpus, BATCHES, lr=1e-3, settings=trainer, dropout_seed=3)
    return training, {name: p.detach().clone() for name, p in method.trained(adapted).items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_same_bits(name, fresh, calibration, settings):
    dropout = [] if name == "full" else ["variant.dropout=0.2"]
    (plain, expected), (recomputed, values) = (
        run(fresh("llama"), calibration, settings, variant(name, *dropout), wanted) for wanted in (False, True)
    )
    assert recomputed.loss == plain.loss
    assert recomputed.grad_norm == plain.grad_norm
    assert values.keys() == expected.keys()
    assert all(torch.equal(values[key], expected[key]) for key in values)


def test_a_start_from_gradients_has_the_same_bits(fresh, calibration, settings):
    base = fresh("llama")
    name = "model.layers.0.self_attn.q_proj"
    gradients = [
        dict(replace(calibration(base), settings=settings(gradient_checkpointing=wanted)).gradients(base.model, [name], 4))[
            name
        ]
        for wanted in (False, True)
    ]
    assert torch.equal(*gradients)


def test_each_layer_keeps_its_inputs_alone(fresh, calibration, settings, lora):
    base = fresh("llama")
    adapted = lora.attach(base.model, seed.generator(0, "init"))
    passes, sizes = [], {}
    layers = decoder_layers(adapted)
    for layer in layers:
        layer.self_attn.register_forward_hook(lambda *_: passes.append(None))
    examples = calibration(base).corpus.encode(range(3))
    for wanted in (False, True):
        passes.clear()
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            backward(adapted, examples, settings(gradient_checkpointing=wanted), base.tokenizer.pad_token_id)
        sizes[wanted] = sum(kept)
        assert len(passes) == (2 if wanted else 1) * len(layers)
        assert all("forward" not in vars(layer) for layer in layers)
    assert sizes[True] < sizes[False] / 2


def test_layers_that_write_to_a_cache_are_refused(fresh, calibration, settings):
    base = fresh("llama")
    method = variant("peft", "variant.peft_type=PREFIX_TUNING", "+variant.config.num_virtual_tokens=4")
    with pytest.raises(UserError, match=r"^trainer\.gradient_checkpointing=true: this method hands its layers keys and values"):
        run(base, calibration, settings, method, True)


def test_it_is_no_part_of_a_cells_identity(cell):
    assert cell("trainer.gradient_checkpointing=true").id == cell().id
    assert cell("trainer.gradient_checkpointing=true").trainer.gradient_checkpointing
