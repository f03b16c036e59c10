"""Bottleneck adapters against their formula, in the three places that the papers have them; what they save loads again."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from scipy import stats

from lorabench.cells.checks import check
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator
from lorabench.models.shapes import Shapes, linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants import bottleneck

PLACEMENTS = ["houlsby", "pfeiffer", "parallel"]
SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


def changes(x, down, down_bias, up, up_bias, activation, scale):
    """s·(W_up f(W_down x + b_down) + b_up), f written out."""
    z = x @ down.T + down_bias
    f = z.clamp(min=0) if activation == "relu" else z * 0.5 * (1 + torch.erf(z / 2**0.5))
    return scale * (f @ up.T + up_bias)


def written_out(layer, place, values, placement, activation, scale):
    """The forward pass of a block of Llama with its adapters, in place of the block's own."""

    def change(name, x):
        return changes(x, *values[f"{place}.{name}"], activation, scale)

    def forward(hidden_states, **others):
        attention = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **others)[0]
        if placement == "houlsby":
            attention = attention + change("self_attn.bottleneck", attention)
        middle = hidden_states + attention
        x = layer.post_attention_layernorm(middle)
        h = layer.mlp(x)
        if placement == "houlsby":
            h = h + change("mlp.bottleneck", h)
        if placement == "parallel":
            h = h + change("mlp.bottleneck", x)
        out = middle + h
        return out + change("bottleneck", out) if placement == "pfeiffer" else out

    return forward


@pytest.mark.parametrize(
    ("placement", "activation", "scale"), [("houlsby", "gelu", 1.0), ("pfeiffer", "relu", 0.5), ("parallel", "relu", 4.0)]
)
def test_three_steps_are_adamw_on_the_formula(placement, activation, scale, fresh, build, corpus, settings, loss_of, relative):
    base, reference = fresh("tiny"), fresh("tiny").model.double().requires_grad_(False)
    method = build("bottleneck", placement=placement, activation=activation, scale=scale)
    model = method.attach(base.model, generator(0, "init"))
    trained = method.trained(model)
    values = {}
    for name, p in trained.items():
        values.setdefault(name.rsplit(".", 2)[0], []).append(p)
    order = ["down.weight", "down.bias", "up.weight", "up.bias"]
    assert all([name.split("bottleneck.")[1] for name in trained if name.startswith(f"{key}.")] == order for key in values)
    values = {key: [p.detach().double().clone().requires_grad_() for p in of_one] for key, of_one in values.items()}
    for number, layer in enumerate(reference.model.layers):
        layer.forward = written_out(layer, f"model.layers.{number}", values, placement, activation, scale)
    every = [p for of_one in values.values() for p in of_one]
    trainer = settings(eps=1e-4, weight_decay=0.1)
    plain = torch.optim.AdamW(every, betas=trainer.betas, eps=trainer.eps, weight_decay=trainer.weight_decay)
    done = train(model, method, corpus, [list(range(8))] * 3, lr=2e-2, settings=trainer, dropout_seed=0)
    for rate, norm, loss in zip(done.lr, done.grad_norm, done.loss, strict=True):
        expected = loss_of(reference, {}, corpus.encode(range(8)))
        plain.zero_grad()
        expected.backward()
        full = torch.nn.utils.clip_grad_norm_(every, trainer.max_grad_norm)
        plain.param_groups[0]["lr"] = rate[0]
        plain.step()
        assert (loss, norm) == (pytest.approx(expected.item(), rel=1e-5), pytest.approx(float(full), rel=1e-3))
    for (name, p), expected in zip(trained.items(), every, strict=True):
        assert relative(p.detach().double(), expected.detach()) <= 5e-3, name
        assert p.detach().abs().max() > 1e-3, name
    untouched = dict(fresh("tiny").model.named_parameters())
    assert all(torch.equal(p, untouched[name]) for name, p in base.model.named_parameters() if name not in trained)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_starts_and_counts(placement, fresh, build, attach, model_name):
    base = fresh(model_name)
    method = build("bottleneck", rank=16, placement=placement)
    present = {name for name, _ in base.model.named_modules()}  # of SmolLM2, cut to its first layers
    shapes = {name: shape for name, shape in linear_shapes(base.spec).items() if name in present}
    attach(method, base)
    width = base.model.config.hidden_size
    assert set(method.beside(shapes).values()) == {width}
    draws = []
    for name, p in method.trained(base.model).items():
        if name.endswith("down.weight"):
            assert p.shape == (16, width)
            draws.append(p.detach().flatten())
        else:
            assert not p.any()
    blocks = len({name.split(".layers.")[1].split(".")[0] for name in method.trained(base.model)})
    assert len(draws) == blocks * (2 if placement == "houlsby" else 1)
    assert stats.kstest(torch.cat(draws).numpy() * width**0.5, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert len({float(of_one[0]) for of_one in draws}) == len(draws)
    assert sum(p.numel() for p in method.trained(base.model).values()) == method.trainable_parameters(shapes)


LOAD = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from lorabench.variants.bottleneck import load

folder = Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
load(model, folder / "adapter")
batch = load_file(folder / "batch.safetensors")
with torch.no_grad():
    logits = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits[batch["mask"].bool()]
print(float((logits - batch["logits"]).norm() / batch["logits"].norm()))
"""


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_is_saved_loads_to_the_same_logits(
    placement, tmp_path, fresh, build, attach, shift, logits, base_logits, batch, relative, capsys
):
    base = fresh("gemma3")
    base.model.save_pretrained(tmp_path / "base")
    method = build("bottleneck", placement=placement, activation="relu", scale=2.0)
    model = attach(method, base)
    shift(model, 0.1)
    method.save(model, tmp_path / "adapter")
    assert "PEFT has no bottleneck adapters: lorabench.variants.bottleneck.load(model, '" in capsys.readouterr().err
    learned = logits(base)
    assert relative(learned, base_logits("gemma3")) > 1e-2
    ids, mask = batch(base)
    save_file({"ids": ids, "mask": mask, "logits": learned}, tmp_path / "batch.safetensors")
    done = subprocess.run([sys.executable, "-c", LOAD, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-6
    other = fresh("gemma3")
    loaded = bottleneck.load(other.model, tmp_path / "adapter")
    assert loaded == method and torch.equal(logits(other), learned)
    loaded.detach(other.model)
    assert torch.equal(logits(other), base_logits("gemma3"))


def test_folders_that_hold_no_such_adapters_are_refused(tmp_path, fresh, build, attach):
    with pytest.raises(UserError, match=r"has no bottleneck_config.json; give a folder that variant=bottleneck saved"):
        bottleneck.load(fresh("llama").model, tmp_path)
    method = build("bottleneck")
    base = fresh("tiny")
    method.save(attach(method, base), tmp_path)
    other = fresh("llama")
    names = [name for name, _ in other.model.named_modules()]
    with pytest.raises(UserError, match="holds the adapters of another model"):
        bottleneck.load(other.model, tmp_path)
    assert [name for name, _ in other.model.named_modules()] == names


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_answers_through_the_adapted_model(placement, fresh, build, attach, shift):
    base = fresh("tiny")
    untouched = fresh("tiny")
    method = build("bottleneck", placement=placement)
    shift(attach(method, base), 0.3)
    hf = HFGenerator(name="hf", batch_tokens=512)
    hf.load(untouched)
    pair = (list(range(60, 80)), list(range(80, 90)))
    [(before, _)] = hf.loglikelihoods([pair])
    hf.use_adapted(base.model)
    [(after, _)] = hf.loglikelihoods([pair])
    ids = torch.tensor([pair[0] + pair[1]])
    with torch.no_grad():
        logs = base.model(input_ids=ids).logits[0].log_softmax(-1)[19:-1]
    assert after == pytest.approx(float(logs.gather(1, ids[0, 20:, None]).sum()), rel=1e-4)
    assert abs(after - before) > 1e-3
    prompt = "Q: 3 + 4 = ?"
    start = untouched.prompt_ids([prompt])[0]
    whole = list(start)
    for _ in range(6):  # token by token, without a cache
        with torch.no_grad():
            whole.append(int(base.model(input_ids=torch.tensor([whole]), use_cache=False).logits[0, -1].argmax()))
        if whole[-1] in untouched.ends:
            break
    [answer] = hf.generate([prompt], 6)
    assert answer == untouched.tokenizer.decode(whole[len(start) :], skip_special_tokens=True)


def test_a_cell_answers_itself_and_is_refused_where_none_serves_it(cell, monkeypatch):
    made = cell(*SMALL, "variant=bottleneck", "save_adapter=true", "lr=1e-2")
    run(made)
    record = made.record()
    assert record["evaluation"]["merged"] is False
    assert record["training"]["trainable_parameters"] == 4 * 2 * (2 * 8 * 128 + 8 + 128)
    folder = made.folder / "adapter"
    assert json.loads((folder / "bottleneck_config.json").read_text())["placement"] == "houlsby"
    monkeypatch.setattr(HFGenerator, "serves_adapted", False)  # as of an engine that is given weights alone
    with pytest.raises(UserError, match=r"variant=bottleneck cannot be merged into plain weights, .* use evaluator=hf"):
        check(cell(*SMALL, "variant=bottleneck"), resources=False)


def test_a_copy_of_the_adapted_model_has_adapters_of_its_own(fresh, build, attach, shift, logits):
    base = fresh("llama")
    shift(attach(build("bottleneck"), base), 0.1)
    expected = logits(base)
    twin = copy.deepcopy(base.model)
    shift(base.model, 0.5)
    assert torch.equal(logits(base, twin), expected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"placement": "houlsbi"}, "variant.placement=houlsbi is unknown; did you mean 'houlsby'"),
        ({"activation": "swish"}, "variant.activation=swish is unknown; available: gelu, relu"),
        ({"rank": 0}, "rank=0 must be at least 1"),
        ({"scale": 0.0}, "variant.scale=0.0 must be positive"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words) as error:
        build("bottleneck", **fields).check(linear_shapes(tiny.spec))
    assert "\n" not in str(error.value)


def test_a_model_without_such_sublayers_is_one_line(build):
    opt = {"decoder.layers.0.self_attn.q_proj": (8, 8), "decoder.layers.0.fc1": (32, 8), "decoder.layers.0.fc2": (8, 32)}
    with pytest.raises(
        UserError, match=r"variant=bottleneck needs blocks with attention \(.* this model does not have"
    ) as error:
        build("bottleneck").check(Shapes(opt))
    assert "\n" not in str(error.value)
