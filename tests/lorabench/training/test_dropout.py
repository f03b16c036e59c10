"""Dropout by examples: the rate, what the masks depend on and what not, for every variant, and whose dropout is off."""

import pytest
import torch
from transformers import LlamaConfig, OPTConfig, OPTForCausalLM

from lorabench.cells.parts import build
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.training import dropout
from lorabench.training.data import batches
from lorabench.training.dropout import ExampleDropout, Masks, training_mode
from lorabench.training.loop import train
from lorabench.training.loss import backward
from lorabench.training.seed import generator
from lorabench.variants.base import Variant
from lorabench.variants.lora import LoRA

LENGTHS = [(3, 5), (0, 7), (6, 2)]
ROW_BY_ROW, WHOLE = {"micro_batch_tokens": 1}, {"micro_batch_tokens": 10**6, "max_padding": 0.99}
OTHERS = {"bottleneck", "full", "galore", "peft"}  # which drop no input of their own
NAMES = sorted({file.stem for file in (CONF / "variant").glob("*.yaml")} - OTHERS)


def keep(rows=LENGTHS, seed=1, step=0, layer="layer", width=64, p=0.1):
    return Masks(seed, step, rows).keep(layer, torch.ones(len(rows), max(n for _, n in rows), width), p)


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_the_rate_is_the_one_asked_for_and_the_mean_is_kept(p):
    rows = [(place, 200) for place in range(20)]
    layer = ExampleDropout(p, "layer", Masks(0, 0, rows))
    y = layer(torch.ones(20, 200, 100))
    deviation = (p * (1 - p) / y.numel()) ** 0.5
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=5 * deviation)
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    assert float(y.mean()) == pytest.approx(1, abs=5 * deviation / (1 - p))
    assert torch.equal(layer.eval()(torch.ones(20, 200, 100)), torch.ones(20, 200, 100))


def test_gradients_pass_where_values_do():
    x = torch.ones(3, 7, 64, requires_grad=True)
    y = ExampleDropout(0.3, "layer", Masks(0, 0, LENGTHS))(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_a_mask_depends_on_neither_neighbours_nor_padding():
    together = keep()
    for row, (place, length) in enumerate(LENGTHS):
        alone = keep([(place, length)])
        padded = keep([(9, 20), (place, length)])[1:]
        assert torch.equal(together[row, :length], alone[0])
        assert torch.equal(padded[0, :length], alone[0])
        assert together[row, length:].all()


def test_batch_and_time_may_be_one_dimension():
    flat = Masks(1, 0, LENGTHS).keep("layer", torch.ones(3 * 7, 64), 0.1)
    assert torch.equal(flat, keep().view(21, 64))


@pytest.mark.parametrize("changed", [{"seed": 2}, {"step": 1}, {"layer": "other"}, {"rows": [(4, 5), (1, 7), (7, 2)]}])
def test_seed_step_layer_and_place_each_give_another_mask(changed):
    masks, others = keep(), keep(**changed)
    for row, (_, length) in enumerate(LENGTHS):
        agreement = float((masks[row, :length] == others[row, :length]).float().mean())
        assert agreement < 0.95  # 0.82 of independent masks


def test_a_form_in_which_examples_are_mixed_is_refused():
    with pytest.raises(UserError, match=r"experts drops parts of a tensor \[5, 64\] .* use dropout 0 there"):
        Masks(0, 0, LENGTHS).keep("experts", torch.ones(5, 64), 0.1)


def gradients(model, variant, corpus, trainer, noted):
    """Of one batch, with the masks in ``noted`` by layer, step and place."""
    masks = Masks(5)
    draw = masks.keep

    def note(layer, x, p):
        kept = draw(layer, x, p)
        for row, (place, length) in zip(kept.view(len(masks.rows), -1, kept.shape[-1]), masks.rows, strict=True):
            noted[layer, place] = row[:length]
        return kept

    masks.keep = note
    trained = variant.train_only(model)
    with training_mode(model, masks):
        backward(model, corpus.encode(range(12)), trainer, corpus.tokenizer.pad_token_id, masks)
    grads = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    for p in trained.values():
        p.grad = None
    return grads


@pytest.mark.parametrize("name", NAMES)
def test_no_variant_depends_on_micro_batches(name, tiny, corpus, settings, cell, calibration, relative):
    variant = build(cell(f"variant={name}", "variant.dropout=0.2").config["variant"], "variant", Variant)
    model = variant.attach(tiny.model, generator(0, "init"), calibration(tiny))
    try:
        with torch.no_grad():  # factors that start at 0 hide what is dropped
            for p in variant.trained(model).values():
                p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        masks, others = {}, {}
        grads = gradients(model, variant, corpus, settings(**ROW_BY_ROW), masks)
        whole = gradients(model, variant, corpus, settings(**WHOLE), others)
        assert len(masks) == 12 * len(list(variant.targets(n for n, _ in tiny.model.named_modules())) or [0])
        assert all(torch.equal(masks[key], others[key]) for key in masks)
        assert max(relative(grads[key], whole[key]) for key in grads) < 1e-4  # rounding of float32
        assert not any(isinstance(module, ExampleDropout) for module in model.modules()) and not model.training
    finally:
        variant.detach(model)


def losses(tiny, lora, corpus, trainer, steps=8, **kwargs):
    model = lora.attach(tiny.model, generator(0, "init"))
    try:
        schedule = batches(range(8 * steps), 8, 1, generator(0, "order"))
        return train(model, lora, corpus, schedule, lr=1e-2, settings=trainer, dropout_seed=7, **kwargs).loss
    finally:
        lora.detach(model)


def test_a_run_does_not_depend_on_micro_batches(tiny, lora, corpus, settings):
    lora.dropout = 0.2
    rows, whole, none = (losses(tiny, lora, corpus, settings(**words)) for words in (ROW_BY_ROW, WHOLE, {}))
    assert rows == pytest.approx(whole, rel=1e-3)
    assert none == pytest.approx(whole, rel=1e-3)
    lora.dropout = 0.0
    assert losses(tiny, lora, corpus, settings())[-1] != pytest.approx(whole[-1], rel=1e-2)


class Noisy(LoRA):
    """LoRA whose adapters see noise: drawn as dropout of PEFT's other methods is."""

    def attach(self, model, generator, calibration=None):
        adapted = super().attach(model, generator, calibration)
        layer = next(module for name, module in adapted.named_modules() if name.endswith("lora_A.default"))
        layer.register_forward_hook(lambda module, args, output: output * (torch.rand(()) < 0.5))
        return adapted


def test_a_forward_pass_that_draws_by_itself_is_refused(tiny, corpus, settings):
    noisy = Noisy(name="noisy", rank=4, alpha=8, dropout=0.0, target_modules=["q_proj"])
    with pytest.raises(UserError, match="variant=noisy draws random numbers in its forward passes"):
        losses(tiny, noisy, corpus, settings())


def test_a_dropout_of_the_base_is_off():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "word_embed_proj_dim": 32}
    config = OPTConfig(**sizes, vocab_size=64, dropout=0.5, attention_dropout=0.5, layerdrop=0.5)
    model = OPTForCausalLM(config).eval()
    lora = LoRA(name="lora", rank=2, alpha=2, dropout=0.5, target_modules=["q_proj", "fc2"])
    ids = torch.arange(10)[None]
    expected = model(ids).logits
    adapted = lora.attach(model, generator(0, "init"))
    masks = Masks(0, 0, [(0, 10)])
    with training_mode(adapted, masks):
        assert torch.equal(adapted(ids).logits, expected)  # B = 0
        with torch.no_grad():
            for name, p in adapted.named_parameters():
                if "lora_B" in name:
                    p.fill_(0.1)
        dropped = adapted(ids).logits
        masks.step = 1
        assert not torch.equal(adapted(ids).logits, dropped)
    assert dropout.base_rates(config) == {"attention_dropout": 0.5, "dropout": 0.5, "layerdrop": 0.5}
    assert dropout.base_rates(LlamaConfig()) == {}


SMALL = ["train_samples=48", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "variant.dropout=0.1"]


def test_a_cell_says_the_same_whatever_fits_into_a_micro_batch(cell, tmp_path, run_until):
    made = [
        cell(*SMALL, f"trainer.micro_batch_tokens={tokens}", f"output_dir={tmp_path / str(tokens)}") for tokens in (1, 100000)
    ]
    assert made[0].id == made[1].id
    for each in made:
        run(each)
    rows, whole = ([loss for _, loss in each.record()["training"]["loss"]] for each in made)
    assert rows == pytest.approx(whole, rel=1e-3)


def test_a_cell_says_whose_dropout_is_off(cell, capsys):
    sizes = "hidden_size: 32, ffn_dim: 64, num_hidden_layers: 1, num_attention_heads: 2, word_embed_proj_dim: 32"
    architecture = f"{{model_type: opt, {sizes}, vocab_size: 512, max_position_embeddings: 512, dropout: 0.1}}"
    words = [
        "model.weights=random",
        f"++model.architecture={architecture}",
        "variant.target_modules=[q_proj]",
        "model.name=small-opt",
    ]
    made = cell(*SMALL, *words)
    run(made)
    made.session.forget_base()
    line = "small-opt: the base's own dropout (dropout=0.1) is off; variant.dropout is the only one"
    assert capsys.readouterr().err.count(line) == 1


def test_masks_of_another_kind_are_other_cells(cell):
    assert cell(*SMALL).identity["trainer"]["dropout_version"] == 2
    assert "dropout_version" not in cell("variant.dropout=0").identity["trainer"]
