"""VeRA against its definition: the start, three steps of training, and what its file holds."""

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from scipy import stats

from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers


def vectors(layer):
    return layer.vera_lambda_d["default"], layer.vera_lambda_b["default"]


def bases(model):
    return model.base_model.vera_A["default"], model.base_model.vera_B["default"]


def test_start_and_bases(fresh, build, attach):
    base = fresh("gemma3")
    model = attach(build("vera", basis_rank=48, d_initial=0.2), base)
    layers = dict(adapter_layers(model))
    a, b = bases(model)
    assert a.shape == (48, max(layer.in_features for layer in layers.values()))
    assert b.shape == (max(layer.out_features for layer in layers.values()), 48)
    for basis, fan_in in ((a, a.shape[1]), (b, 48)):
        bound = (6 / fan_in) ** 0.5
        assert stats.kstest(basis.flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-4
    for layer in layers.values():
        assert layer.vera_A["default"] is a and layer.vera_B["default"] is b  # one pair for all
        d_vector, b_vector = vectors(layer)
        assert torch.equal(d_vector, torch.full((48,), 0.2)) and torch.equal(b_vector, torch.zeros(layer.out_features))


def test_bases_come_from_the_generator_alone(fresh, build, attach):
    drawn = []
    for noise, cell_seed in ((0, 1), (7, 1), (0, 2)):
        torch.manual_seed(noise)
        drawn.append(torch.cat([basis.flatten() for basis in bases(attach(build("vera"), fresh("llama"), cell_seed))]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_three_steps_are_adamw_on_the_definition(fresh, build, corpus, settings, loss_of, relative):
    """W + diag(b) B diag(d) A in float64 on a plain model; matrices of unlike shapes, a basis rank above some of them."""
    base, reference = fresh("tiny"), fresh("tiny").model.double()
    method = build("vera", basis_rank=160)
    model = method.attach(base.model, generator(3, "init"))
    a, b = (basis.double() for basis in bases(model))
    pairs = {name: [v.detach().double().requires_grad_() for v in vectors(layer)] for name, layer in adapter_layers(model)}
    weights = {name: reference.get_parameter(f"{name}.weight") for name in pairs}
    plain = torch.optim.AdamW(
        [v for pair in pairs.values() for v in pair], betas=settings().betas, eps=settings().eps, weight_decay=0.1
    )
    done = train(model, method, corpus, [list(range(8))] * 3, lr=5e-2, settings=settings(weight_decay=0.1), dropout_seed=0)
    for rate, norm, loss in zip(done.lr, done.grad_norm, done.loss, strict=True):
        adapted = {}
        for name, (d_vector, b_vector) in pairs.items():
            m, n = weights[name].shape
            adapted[f"{name}.weight"] = weights[name] + b_vector.diag() @ b[:m] @ d_vector.diag() @ a[:, :n]
        expected = loss_of(reference, adapted, corpus.encode(range(8)))
        plain.zero_grad()
        expected.backward()
        full = torch.nn.utils.clip_grad_norm_(plain.param_groups[0]["params"], settings().max_grad_norm)
        plain.param_groups[0]["lr"] = rate[0]
        plain.step()
        assert (loss, norm) == (pytest.approx(expected.item(), rel=1e-5), pytest.approx(float(full), rel=1e-4))
    for name, layer in adapter_layers(model):
        for vector, expected in zip(vectors(layer), pairs[name], strict=True):
            assert relative(vector.double(), expected) <= 1e-3, name
    assert all(torch.equal(basis, fixed.float()) for basis, fixed in zip(bases(model), (a, b), strict=True))


def test_counts_are_those_of_the_model_and_of_the_paper(fresh, build, attach, cell):
    for name, basis_rank in (("tiny", 256), ("gemma3", 7)):
        base = fresh(name)
        method = build("vera", basis_rank=basis_rank)
        count = method.trainable_parameters(linear_shapes(base.spec))
        assert sum(p.numel() for p in attach(method, base).parameters() if p.requires_grad) == count
    llama = cell("model=llama-2-7b", "variant=vera")
    count = llama.variant.trainable_parameters(linear_shapes(llama.model))
    assert count == 32 * (7 * 256 + 5 * 4096 + 2 * 11008)
    assert round(count / 1e6, 1) == 1.4  # million, as the abstract says of Llama 2 7B


def test_the_file_holds_the_bases_once_and_needs_no_key(tmp_path, fresh, build, attach, shift, logits, relative):
    base, untouched = fresh("gemma3"), fresh("gemma3")
    method = build("vera")
    model = attach(method, base)
    shift(model, 0.3)
    model.peft_config["default"].projection_prng_key += 1  # as if another torch drew other values by it
    method.save(model, tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        kept = [key for key in file.keys() if "vera_A" in key or "vera_B" in key]  # noqa: SIM118 - not a mapping
    assert sorted(kept) == ["base_model.vera_A", "base_model.vera_B"]
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(untouched, loaded), logits(base, model)) <= 1e-5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"basis_rank": 0}, "variant.basis_rank=0 must be at least 1"),
        ({"d_initial": 0.0}, "variant.d_initial=0.0 must be finite and not 0"),
        ({"d_initial": float("nan")}, "variant.d_initial=nan must be finite"),
        ({"target_modules": ["q_prj"]}, "no linear layer 'q_prj'"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build, tiny):
    with pytest.raises(UserError, match=words) as error:
        build("vera", **fields).check(linear_shapes(tiny.spec))
    assert "\n" not in str(error.value)
