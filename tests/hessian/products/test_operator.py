"""Products by the leaf identity against the dense Hessian, whatever the family, the matrix and the cut of the data."""

import gc
import weakref

import pytest
import torch
from small_models import FAMILIES, LENGTHS, MATRICES, dense, family, full_name

from hessian.products.leaves import Factors, LeafHessian
from hessian.products.memory import SavedBytes
from hessian.products.passes import Budget, Passes
from lorabench.errors import UserError
from lorabench.schema import TrainerConfig
from lorabench.training.data import Encoded
from lorabench.training.loss import mean_loss


def block(base, name, rank=2, scale=1.5, zero=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    m, n = base.model.get_submodule(name).weight.shape
    b = torch.zeros(m, rank) if zero else torch.randn(m, rank, generator=generator) / rank**0.5
    return Factors(name, torch.randn(rank, n, generator=generator) / n**0.5, b, scale)


def hessian_of(base, examples, names, budget, layer=1):
    return LeafHessian(Passes(base.model, examples, layer, base.tokenizer.pad_token_id), names, budget)


def weight_of(base, factors):
    """θ ↦ W − s·B₀A₀ + s·BA."""
    weight = base.model.get_submodule(factors.name).weight.detach()

    def function(theta):
        a, b = factors.split(theta)
        return weight + factors.scale * (b @ a - factors.lora_B @ factors.lora_A)

    return function


def start(factors):
    return torch.cat([factors.lora_A.flatten(), factors.lora_B.flatten()])


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_products_are_those_of_the_dense_hessian(name, matrix, examples, budget):
    base, where = family(name), full_name(1, matrix)
    factors = block(base, where)
    expected = dense(base, examples, where, weight_of(base, factors), start(factors)).double()
    products = hessian_of(base, examples, [where], budget).products([factors] * factors.size, list(torch.eye(factors.size)))
    assert (torch.stack(products) - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_one_graph_serves_matrices_ranks_and_starts(examples, budget):
    base = family("qwen3")
    blocks = [
        block(base, full_name(0, "q_proj")),
        block(base, full_name(0, "q_proj"), rank=5, zero=True, seed=1),
        block(base, full_name(0, "down_proj"), scale=0.5, seed=2),
    ]
    vectors = [torch.randn(b.size, generator=torch.Generator().manual_seed(3)) for b in blocks]
    hessian = hessian_of(base, examples, [full_name(0, "q_proj"), full_name(0, "down_proj")], budget, layer=0)
    for factors, vector, product in zip(blocks, vectors, hessian.products(blocks, vectors), strict=True):
        expected = dense(base, examples, factors.name, weight_of(base, factors), start(factors)).double() @ vector.double()
        assert (product - expected).norm() <= 2e-5 * expected.norm()


@pytest.fixture(params=["llama", "gemma3"])
def setting(request):
    base = family(request.param)
    factors = block(base, full_name(1, "k_proj"))
    vectors = torch.randn(factors.size, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return base, factors, vectors


def test_symmetric(setting, examples, budget):
    base, factors, vectors = setting
    hessian = hessian_of(base, examples, [factors.name], budget)
    products = torch.stack(hessian.products([factors] * 3, list(vectors.T)), dim=1)
    projected = vectors.T @ products
    assert (projected - projected.T).abs().max() <= 1e-5 * projected.abs().max()


@pytest.mark.parametrize("tokens", [1, 12, 10_000])
def test_padding_and_micro_batches_do_not_matter(setting, examples, tokens):
    base, factors, vectors = setting
    product, expected = (
        hessian_of(base, examples, [factors.name], Budget(2**30, cut, 0.99)).products([factors], [vectors[:, 0]])[0]
        for cut in (tokens, 30)
    )
    assert (product - expected).norm() <= 2e-6 * expected.norm()


def test_graphs_that_do_not_fit_are_built_anew(setting, examples, budget):
    base, factors, vectors = setting
    roomy, anew = (hessian_of(base, examples, [factors.name], budget) for _ in range(2))
    assert roomy.kept == 1.0
    anew._keep = [False] * len(anew._batches)
    per_token = roomy.bytes / sum(max(pair) for pair in LENGTHS)
    tight = hessian_of(base, examples, [factors.name], Budget(int(per_token * 32), 16, 0.6))
    assert 0 <= tight.kept < 1
    assert tight.bytes <= tight.budget.bytes
    for _ in range(2):
        first, second, third = (h.products([factors], [vectors[:, 1]])[0] for h in (roomy, anew, tight))
        assert torch.equal(first, second)
        assert (first - third).norm() <= 2e-6 * first.norm()  # other micro-batches
    assert len(tight._graphs) == sum(tight._keep)


def test_one_graph_lives_beside_the_kept_ones(setting, examples):
    base, factors, vectors = setting
    alive, counts = weakref.WeakSet(), []

    class Counted(LeafHessian):
        def build(self, batch):
            graph = super().build(batch)
            alive.add(graph)
            counts.append(len(alive))
            return graph

    passes = Passes(base.model, examples, 1, base.tokenizer.pad_token_id)
    hessian = Counted(passes, [factors.name], Budget(2**30, 14, 0.6))
    hessian._keep = [False] * len(hessian._batches)
    assert len(hessian._keep) > 2
    hessian.products([factors], [vectors[:, 0]])
    hessian.parts([factors], [vectors])
    assert set(counts) == {1}


def test_counting_what_a_graph_saves_does_not_keep_it(setting, examples, budget):
    base, factors, _ = setting
    hessian = hessian_of(base, examples, [factors.name], budget)
    with SavedBytes(base.model) as saved:
        graph = hessian.build(hessian._batches[0])
    leaf = weakref.ref(graph._e[factors.name])
    del graph
    gc.collect()
    assert saved.bytes > 0
    assert leaf() is None


@pytest.mark.parametrize("lengths", [[(20, 20), (16, 1), (16, 2)], [(20, 1), (16, 14), (16, 14)], [(12, 6)] * 3])
def test_the_logits_of_long_answers_are_counted(setting, lengths):
    """What autograd saves for all graphs is what was foreseen, though the longest sequence may have the shortest answer."""
    base, factors, _ = setting
    examples = [Encoded(tuple(range(3, 3 + length)), prompt) for length, prompt in lengths]
    hessian = hessian_of(base, examples, [factors.name], Budget(2**30, 1, 0.0))
    with SavedBytes(base.model) as saved:
        graphs = [hessian.build(batch) for batch in hessian._batches]
    assert len(graphs) == len(examples)
    assert saved.bytes <= hessian.bytes <= 1.2 * saved.bytes


def test_graphs_that_do_not_all_fit_leave_room_for_some_and_for_vectors_together(setting, examples):
    base, factors, _ = setting
    whole = hessian_of(base, examples * 8, [factors.name], Budget(2**30, 10_000, 0.1))
    half = hessian_of(base, examples * 8, [factors.name], Budget(whole.bytes // 2, 10_000, 0.1))
    assert 0.1 < half.kept < 0.5
    assert half.together == whole.together > 1
    assert half.bytes <= half.budget.bytes


def test_parts_are_those_of_single_sequences(setting, examples, budget):
    base, factors, vectors = setting
    hessian = hessian_of(base, examples, [factors.name], budget)
    [parts] = hessian.parts([factors], [vectors])
    products = torch.stack(hessian.products([factors] * 3, list(vectors.T)), dim=1)
    assert torch.allclose(parts.sum(0), vectors.T @ products, rtol=1e-4, atol=1e-5)
    for place in (0, 3):
        alone = hessian_of(base, [examples[place]], [factors.name], budget)
        products = torch.stack(alone.products([factors] * 3, list(vectors.T)), dim=1)
        share = examples[place].target_tokens / hessian.passes.targets
        assert torch.allclose(parts[place], share * vectors.T @ products, rtol=1e-4, atol=1e-5)
    assert not parts[4].any()  # no target token


def test_the_loss_is_the_trainers(setting, examples, budget):
    base, _, _ = setting
    passes = Passes(base.model, examples, 2, base.tokenizer.pad_token_id)
    settings = TrainerConfig(512, 0.0, 1.0, 0.0, (0.9, 0.999), 1e-8, 10_000, 0.99, 10)
    with torch.no_grad():
        loss = sum(passes.loss(batch).item() for batch in passes.batches(14, 0.9))
    assert loss == pytest.approx(mean_loss(base.model, examples, settings, base.tokenizer.pad_token_id), rel=1e-6)


def test_the_model_is_left_as_it_was(setting, examples, budget):
    base, factors, vectors = setting
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    hessian_of(base, examples, [factors.name], budget).products([factors], [vectors[:, 0]])
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    for name, module in base.model.named_modules():
        assert "forward" not in vars(module), name
        assert not module._forward_hooks and not module._forward_pre_hooks, name
    assert not any(p.requires_grad or p.grad is not None for p in base.model.parameters())


def test_eager_attention_agrees(setting, examples, budget):
    base, factors, vectors = setting
    pad = base.tokenizer.pad_token_id
    math, eager = (
        LeafHessian(Passes(base.model, examples, 1, pad, kind), [factors.name], budget).products([factors], [vectors[:, 0]])[0]
        for kind in ("math", "eager")
    )
    assert (math - eager).norm() <= 1e-5 * math.norm()
    assert base.model.config._attn_implementation != "eager"


def test_what_cannot_work_is_one_line(examples, budget):
    base = family("llama")
    name, pad = full_name(1, "q_proj"), base.tokenizer.pad_token_id
    with pytest.raises(UserError, match=r"^attention=flash has no second derivative"):
        Passes(base.model, examples, 1, pad, "flash")
    with pytest.raises(UserError, match="no target token"):
        Passes(base.model, [examples[4]], 1, pad)
    with pytest.raises(UserError, match=r"hessian\.memory_gb=1\.53e-05 does not suffice for one sequence of 14 tokens"):
        LeafHessian(Passes(base.model, examples, 1, pad), [name], Budget(2**14, 30, 0.1))
    base.model.train()
    try:
        with pytest.raises(UserError, match="train mode"):
            Passes(base.model, examples, 1, pad)
    finally:
        base.model.eval()
    before = base.model.config._attn_implementation
    base.model.config._attn_implementation = "flash_attention_2"
    try:
        with pytest.raises(UserError, match="'flash_attention_2' has no second derivative"):
            Passes(base.model, examples, 1, pad)
    finally:
        base.model.config._attn_implementation = before
    norm = base.model.model.norm.bfloat16()
    try:
        with pytest.raises(UserError, match=r"weights in bfloat16; use model\.dtype=float32"):
            Passes(base.model, examples, 1, pad)
    finally:
        norm.float()
