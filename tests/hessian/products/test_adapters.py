"""The general path: through real adapters, against the leaf identity, the dense Hessian and the trainer's own gradients."""

import weakref

import pytest
import torch
from small_models import MATRICES, dense, dense_through, family, full_name, variant

from hessian import starts
from hessian.products.adapters import AdapterHessian
from hessian.products.leaves import Factors, LeafHessian
from hessian.products.passes import Passes
from lorabench.errors import UserError
from lorabench.schema import TrainerConfig
from lorabench.training import seed
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus
from lorabench.training.loss import backward
from lorabench.variants.base import adapter_layers

BILINEAR = ["lora", "rslora", "pissa", "milora", "olora", "init_ab", "lora_ga", "eva", "corda", "loft", "loraplus", "lora_pro"]
SETTINGS = TrainerConfig(512, 0.0, 1.0, 0.0, (0.9, 0.999), 1e-8, 10_000, 0.9, 10)
FIELDS = {"melora": {"k": 2}, "nora": {"outer_rank": 6}}  # what these small models have


def calibration(base):
    corpus = Corpus([(f"What is {i} + {i}?", f" It is {2 * i}.") for i in range(8)], base.tokenizer, 64)
    return Calibration(corpus, range(8), SETTINGS)


def adapters(model, variant, base, examples, names, budget, layer=1):
    blocks = [starts.parameters(model, variant, name, [name]) for name in names]
    passes = Passes(model, examples, layer, base.tokenizer.pad_token_id)
    return AdapterHessian(passes, blocks, budget), blocks


def draw(size, count=2):
    return list(torch.randn(count, size, generator=torch.Generator().manual_seed(9), dtype=torch.float64))


@pytest.mark.parametrize("name", BILINEAR)
def test_both_paths_agree_at_the_start_of_a_cell(name, examples, budget):
    base = family("qwen3")
    built = variant(name, 4)
    assert built.bilinear
    places = [full_name(1, matrix) for matrix in ("k_proj", "up_proj")]
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        hessian, blocks = adapters(model, built, base, examples, places, budget)
        vectors = [draw(block.size, 1)[0] for block in blocks]
        expected = hessian.products(blocks, vectors)
        layers = dict(adapter_layers(model))
        weights = [(layers[p].lora_A["default"].weight, layers[p].lora_B["default"].weight) for p in places]
        factors = [
            Factors(place, a.detach().clone(), b.detach().clone(), built.scale)
            for place, (a, b) in zip(places, weights, strict=True)
        ]
    passes = Passes(base.model, examples, 1, base.tokenizer.pad_token_id)
    for leaf, real in zip(LeafHessian(passes, places, budget).products(factors, vectors), expected, strict=True):
        assert (leaf - real).norm() <= 3e-4 * real.norm()  # W - sBA + sBA is W to float32 rounding


@pytest.mark.parametrize("name", BILINEAR)
def test_starts_matrix_by_matrix_are_those_of_the_variant(name):
    """Drawn apart, yet of the same kind: to the bit where nothing is drawn, of the same size where it is."""
    base, built = family("llama"), variant(name, 4)
    place = full_name(2, "o_proj")
    [alone] = starts.factors(base, built, [place], 0, calibration(base))
    both = starts.factors(base, built, [full_name(0, "q_proj"), place], 0, calibration(base))
    assert torch.equal(alone.lora_A, both[1].lora_A)
    assert torch.equal(alone.lora_B, both[1].lora_B)
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        layer = dict(adapter_layers(model))[place]
        a, b = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
        assert alone.scale == built.scale
        assert torch.allclose(alone.lora_A.norm(), a.norm(), rtol=0.3)
        assert torch.allclose(alone.lora_B.norm(), b.norm(), rtol=0.3)
        if name in ("pissa", "milora", "olora", "lora_ga", "eva", "corda"):
            assert torch.allclose(alone.lora_A, a, atol=1e-5)
            assert torch.allclose(alone.lora_B, b, atol=1e-5)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ["gralora", "randlora", "rslora", "init_ab", "moslora", "melora", "relora"])
def test_products_are_the_change_of_the_trainers_gradient(name, matrix, examples, budget):
    """(∇L(θ + εv) − ∇L(θ − εv)) / 2ε, with the gradient that training takes."""
    base, built = family("llama"), variant(name, 4, **FIELDS.get(name, {}))
    place = full_name(1, matrix)
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        hessian, [block] = adapters(model, built, base, examples, [place], budget)
        move(block)
        [vector] = draw(block.size, 1)
        vector /= vector.norm()
        [product] = hessian.products([block], [vector])

        def gradient(step):
            with torch.no_grad():
                for tensor, part in zip(block.tensors, block.split(vector), strict=True):
                    tensor += step * part.float()
            model.zero_grad()
            backward(model, examples, SETTINGS, base.tokenizer.pad_token_id)
            return torch.cat([tensor.grad.flatten() for tensor in block.tensors]).double()

        step = 5e-3
        ahead = gradient(step)
        behind = gradient(-2 * step)
    expected = (ahead - behind) / (2 * step)
    assert (product - expected).norm() <= 2e-2 * expected.norm()


@pytest.mark.parametrize(
    "name",
    [
        "dora",
        "gralora",
        "randlora",
        "lora_fa",
        "moslora",
        "melora",
        "sinelora",
        "dude",
        "lora_sb",
        "nora",
        "nlora",
        "mora",
        "svft",
    ],
)
@pytest.mark.parametrize(("model", "matrix"), [("qwen3", "o_proj"), ("gemma3", "up_proj")])
def test_products_are_those_of_the_dense_hessian_of_the_adapted_model(model, matrix, name, examples, budget):
    base, built = family(model), variant(name, 2, **FIELDS.get(name, {}))
    place = full_name(1, matrix)
    with starts.adapted_model(base, built, 0, calibration(base)) as adapted:
        hessian, [block] = adapters(adapted, built, base, examples, [place], budget)
        move(block)
        products = torch.stack(hessian.products([block] * block.size, list(torch.eye(block.size))))
        expected = dense_through(adapted, examples, block.tensors).double()
    assert (products - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["sharelora", "tied_lora", "rasa"])
def test_what_matrices_share_is_no_block_of_one(name):
    base, built = family("qwen3"), variant(name, 2)
    with (
        starts.adapted_model(base, built, 0, calibration(base)) as adapted,
        pytest.raises(UserError, match=f"variant={name} shares what it trains in .*up_proj with other matrices"),
    ):
        starts.parameters(adapted, built, "up_proj", [full_name(1, "up_proj")])


def move(block):
    """Away from zeros and from g = ‖W‖, where parts of the Hessian vanish, as training does."""
    with torch.no_grad():
        for tensor in block.tensors:
            tensor += 0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("trained", [False, True])
def test_dora_with_its_norm_held(trained, examples, budget):
    base, built = family("gemma3"), variant("dora", 3)
    place = full_name(1, "v_proj")
    weight = base.model.get_submodule(place).weight.detach()
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        hessian, [block] = adapters(model, built, base, examples, [place], budget)
        names = [n.split(f"{place}.")[1].split(".")[0] for n, p in model.named_parameters() if place in n and p.requires_grad]
        assert sorted(names) == ["lora_A", "lora_B", "lora_magnitude_vector"]
        order = [names.index(key) for key in ("lora_A", "lora_B", "lora_magnitude_vector")]
        if trained:
            move(block)
        values = torch.cat([tensor.detach().flatten() for tensor in block.tensors])
        a, b, g = (block.tensors[i].detach() for i in order)
        norm = (weight + b @ a).norm(dim=1)
        assert torch.allclose(norm, g) != trained

        def weight_of(theta):
            parts = block.split(theta)
            a, b, g = (parts[i] for i in order)
            return (g / norm)[:, None] * (weight + b @ a)

        products = torch.stack(hessian.products([block] * block.size, list(torch.eye(block.size))))
    expected = dense(base, examples, place, weight_of, values).double()
    assert (products - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_parts_and_the_rest_hold_here_too(examples, budget):
    base, built = family("llama"), variant("gralora", 4)
    place = full_name(1, "down_proj")
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        hessian, [block] = adapters(model, built, base, examples, [place], budget)
        vectors = torch.stack(draw(block.size), dim=1)
        [parts] = hessian.parts([block], [vectors])
        products = torch.stack(hessian.products([block] * 2, list(vectors.T)), dim=1)
        assert torch.allclose(parts.sum(0), vectors.T @ products, rtol=1e-4, atol=1e-5)
        assert not parts[4].any()
        assert all(tensor.requires_grad for tensor in block.tensors)
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())


def test_one_sequence_at_a_time_is_held(examples, budget):
    base, alive, counts = family("llama"), weakref.WeakSet(), []

    class Counted(AdapterHessian):
        def build(self, batch):
            graph = super().build(batch)
            alive.add(graph)
            counts.append(len(alive))
            return graph

    built = variant("lora", 2)
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        block = starts.parameters(model, built, "q", [full_name(1, "q_proj")])
        hessian = Counted(Passes(model, examples, 1, base.tokenizer.pad_token_id), [block], budget)
        hessian.parts([block], [torch.stack(draw(block.size), dim=1)])
    assert set(counts) == {1}


def test_all_blocks_jointly(examples, budget):
    """The joint Hessian's diagonal blocks are the single ones; its others are not zero."""
    base, built = family("llama"), variant("init_ab", 2)
    places = [full_name(1, "q_proj"), full_name(2, "down_proj")]
    pad = base.tokenizer.pad_token_id
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        joint = starts.parameters(model, built, "joint", places)
        hessian = AdapterHessian(Passes(model, examples, 1, pad), [joint], budget)
        single, blocks = adapters(model, built, base, examples, places, budget)
        vector = torch.zeros(joint.size, dtype=torch.float64)
        vector[: blocks[0].size] = draw(blocks[0].size, 1)[0]
        [product] = hessian.products([joint], [vector])
        [expected] = single.products(blocks[:1], [vector[: blocks[0].size]])
    assert (product[: blocks[0].size] - expected).norm() <= 1e-5 * expected.norm()
    assert product[blocks[0].size :].norm() > 1e-3 * expected.norm()


def test_another_seed_is_another_start():
    base, built = family("llama"), variant("lora", 4)
    first, second = (starts.factors(base, built, [full_name(0, "q_proj")], s, calibration(base))[0] for s in (0, 1))
    assert not torch.equal(first.lora_A, second.lora_A)
    assert seed.stream_seed(0, "init") != seed.stream_seed(1, "init")
