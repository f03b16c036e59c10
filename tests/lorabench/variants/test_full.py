"""Full fine-tuning: AdamW on the weights themselves, in float32, and a checkpoint of the base's precision."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator


@pytest.fixture
def trained(corpus, settings, build):
    """A function from a ``Base``, and the variant's fields, to the variant and its losses."""

    def run(base, lr=1e-3, steps=6, **fields):
        variant = build("full", **fields)
        variant.attach(base.model, generator(0, "init"))
        done = train(base.model, variant, corpus, [list(range(8))] * steps, lr=lr, settings=settings(), dropout_seed=0)
        return variant, done

    return run


MODES = [("matrices", "tiny"), ("all", "tiny"), ("biases", "qwen2")]


def is_chosen(weights, name):
    return {"matrices": name.endswith("_proj.weight"), "all": True, "biases": name.endswith("_proj.bias")}[weights]


@pytest.mark.parametrize(("weights", "model"), MODES)
def test_each_step_is_adamw_on_the_weights(weights, model, fresh, corpus, settings, trained, relative):
    base, reference = fresh(model), fresh(model).model.double()
    start = {name: p.detach().clone() for name, p in reference.named_parameters()}
    _, done = trained(base, weights=weights, steps=3)
    chosen = {n: p for n, p in reference.named_parameters() if is_chosen(weights, n)}
    reference.requires_grad_(False)
    for p in chosen.values():
        p.requires_grad_(True)
    plain = torch.optim.AdamW(chosen.values(), betas=settings().betas, eps=settings().eps, weight_decay=settings().weight_decay)
    examples = corpus.encode(range(8))
    for step, (rate, loss) in enumerate(zip(done.lr, done.loss, strict=True)):
        plain.zero_grad()
        total = 0.0
        for example in examples:
            ids = torch.tensor([example.ids])
            logits = reference(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
            part = torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
            total = total + part / sum(e.target_tokens for e in examples)
        total.backward()
        torch.nn.utils.clip_grad_norm_(chosen.values(), settings().max_grad_norm)
        plain.param_groups[0]["lr"] = rate[0]
        plain.step()
        assert loss == pytest.approx(float(total), rel=1e-5), step
    now = dict(base.model.named_parameters())
    for name, p in chosen.items():
        moved, expected = (weight.detach().double() - start[name] for weight in (now[name], p))
        assert relative(moved, expected) <= 1e-3, name  # Adam's quotient of small gradients enlarges rounding errors
    untouched = [name for name in now if name not in chosen]
    assert bool(untouched) == (weights != "all")
    assert all(torch.equal(now[name].double(), dict(reference.named_parameters())[name]) for name in untouched)


@pytest.mark.parametrize(("weights", "model"), [("matrices", "tiny"), ("biases", "qwen2")])
def test_small_steps_are_kept_beside_a_base_in_bfloat16(weights, model, fresh, to_bfloat16, trained):
    base = fresh(model)
    with torch.no_grad():
        for name, p in base.model.named_parameters():
            if name.endswith(".bias"):
                p.fill_(0.5)  # random weights have zeros there, beside which no step is small
    to_bfloat16(base)
    precisions = {name: p.dtype for name, p in base.model.named_parameters()}
    base.remember(list(precisions))
    variant, _ = trained(base, weights=weights, lr=1e-6)
    moved = [(p - base.pristine[name].float()).abs() for name, p in variant.trained(base.model).items()]
    assert all((change > 0).float().mean() > 0.9 and change.max() < 1e-5 for change in moved)  # in bfloat16 nearly all stand
    merged = variant.merged(base.model)
    assert {name: weight.dtype for name, weight in merged.items()} == {name: precisions[name] for name in merged}
    variant.detach(base.model)
    base.restore()
    assert {name: p.dtype for name, p in base.model.named_parameters()} == precisions
    assert all(torch.equal(p, base.pristine[name]) for name, p in base.model.named_parameters())
    assert not any(p.requires_grad for p in base.model.parameters())


@pytest.mark.parametrize(("weights", "model"), MODES)
def test_transformers_loads_the_saved_checkpoint(weights, model, fresh, trained, tmp_path):
    base = fresh(model)
    variant, done = trained(base, weights=weights, lr=1e-2)
    assert done.loss[-1] < done.loss[0]
    variant.save(base.model, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    expected = copy.deepcopy(base.model.state_dict())
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


def test_counts_are_those_of_the_weights(build, tiny):
    shapes = linear_shapes(tiny.spec)
    matrices, every = build("full"), build("full", weights="all")
    assert matrices.trainable_parameters(shapes) == sum(m * n for m, n in shapes.values())
    assert every.trainable_parameters(shapes) == sum(p.numel() for p in tiny.model.parameters())
    assert every.optimizer_bytes(shapes) == 8 * every.trainable_parameters(shapes)
    assert every.targets(shapes) == list(shapes)


def test_biases_are_all_that_the_model_has(build, fresh, logits, base_logits, shift, relative):
    base = fresh("qwen2")
    shapes = linear_shapes(base.spec)
    method = build("full", weights="biases")
    method.check(shapes)
    names = [f"model.layers.{layer}.self_attn.{p}_proj.bias" for layer in range(2) for p in "qkv"]
    assert method.touched(shapes) == names and method.targets(shapes) == []
    assert method.trainable_parameters(shapes) == 2 * (64 + 2 * 32)
    base.remember(names)
    method.attach(base.model, generator(0, "init"))
    assert list(method.trained(base.model)) == names
    shift(base.model, 0.3)
    learned, merged, other = logits(base), method.merged(base.model), fresh("qwen2")
    assert list(merged) == names and relative(learned, base_logits("qwen2")) > 1e-2
    other.assign(merged)
    assert torch.equal(logits(other), learned)
    method.detach(base.model)
    base.restore()
    assert torch.equal(logits(base), base_logits("qwen2"))


def test_a_cell_trains_biases(cell):
    words = "model_type: qwen2, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 512"
    model = ["model.weights=random", "model.name=small-qwen2", f"++model.architecture={{{words}, num_key_value_heads: 2}}"]
    small = ["train_samples=16", "batch_size=8", "task.test_samples=2", "task.validation_samples=2"]
    made = cell(*small, *model, "variant=full", "variant.weights=biases", "lr=1e-2")
    run(made)
    made.session.forget_base()
    assert made.record()["training"]["trainable_parameters"] == 3 * 64
    assert made.record()["evaluation"]["merged"] is True


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "some"}, "variant.weights=some is unknown; available: matrices, all, biases"),
        (
            {"weights": "biases"},
            "variant.weights=biases: this model has no bias vector; use variant.weights=matrices, or another",
        ),
        ({"target_modules": ["q_prj"]}, "no linear layer 'q_prj'; did you mean 'q_proj'"),
        ({"target_modules": []}, "variant.target_modules is empty"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words):
        build("full", **fields).check(linear_shapes(tiny.spec))
