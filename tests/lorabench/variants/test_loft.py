"""LoFT against a float64 numpy version of its equations, and against AdamW on the full matrix."""

import io

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lorabench.errors import UserError
from lorabench.variants.base import adapter_layers
from lorabench.variants.loft import LoFT
from lorabench.variants.optimizers import loft as loft_optimizer
from lorabench.variants.optimizers.loft import LoFTAdamW

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


class Reference:
    """The equations for one matrix, entry by entry, in float64: A [r, n] and B [m, r] move by turns, B first."""

    def __init__(self, a, b, lr, betas, eps, damping):
        self.a, self.b, self.lr, self.betas, self.eps, self.damping = a.copy(), b.copy(), lr, betas, eps, damping
        (r, n), m = a.shape, b.shape[0]
        self.t = 0
        self.m_a, self.p_a, self.b_old = np.zeros((r, n)), np.zeros((n, r, r)), b.copy()
        self.m_b, self.p_b, self.a_old = np.zeros((m, r)), np.zeros((m, r, r)), a.copy()

    def inverses(self):
        ridge = self.damping * np.eye(self.a.shape[0])
        return np.linalg.inv(self.b.T @ self.b + ridge), np.linalg.inv(self.a @ self.a.T + ridge)

    def norm(self, full):
        """Full-space norm of the gradient of the factor whose turn it is."""
        gamma_a, gamma_b = self.inverses()
        if self.t % 2 == 0:
            return np.linalg.norm(full @ self.a.T @ gamma_b @ self.a)
        return np.linalg.norm(self.b @ gamma_a @ self.b.T @ full)

    def step(self, full):
        """``full`` is ∂L/∂W [m, n]."""
        beta1, beta2 = self.betas
        n, m = self.a.shape[1], self.b.shape[0]
        gamma_a, gamma_b = self.inverses()
        g_a, g_b = gamma_a @ (self.b.T @ full), (full @ self.a.T) @ gamma_b
        r_a = gamma_a @ self.b.T @ self.b_old
        r_b = gamma_b @ self.a @ self.a_old.T
        self.m_a = beta1 * r_a @ self.m_a + (1 - beta1) * g_a
        self.m_b = beta1 * self.m_b @ r_b.T + (1 - beta1) * g_b
        for j in range(n):
            self.p_a[j] = beta2 * r_a @ self.p_a[j] @ r_a.T + (1 - beta2) * np.outer(g_a[:, j], g_a[:, j])
        for i in range(m):
            self.p_b[i] = beta2 * r_b @ self.p_b[i] @ r_b.T + (1 - beta2) * np.outer(g_b[i], g_b[i])
        self.b_old, self.a_old = self.b.copy(), self.a.copy()
        self.t += 1
        c1, c2 = 1 - beta1**self.t, 1 - beta2**self.t
        v = np.empty((m, n))
        if self.t % 2 == 1:
            for i in range(m):
                for j in range(n):
                    v[i, j] = self.a[:, j] @ self.p_b[i] @ self.a[:, j]
            u = self.m_b @ self.a / (np.sqrt(v / c2) + self.eps)
            self.b = self.b - self.lr / c1 * u @ self.a.T @ gamma_b
        else:
            for i in range(m):
                for j in range(n):
                    v[i, j] = self.b[i] @ self.p_a[j] @ self.b[i]
            u = self.b @ self.m_a / (np.sqrt(v / c2) + self.eps)
            self.a = self.a - self.lr / c1 * gamma_a @ self.b.T @ u


def pairs_of(shapes, rank, dtype=torch.float64, seed=0, start_at_zero=False):
    """Random (lora_A, lora_B) of each shape (m, n)."""
    g = torch.Generator().manual_seed(seed)
    pairs = []
    for m, n in shapes:
        a = torch.randn(rank, n, generator=g, dtype=torch.float64)
        b = torch.randn(m, rank, generator=g, dtype=torch.float64) * (0 if start_at_zero else 1)
        pairs.append((torch.nn.Parameter(a.to(dtype)), torch.nn.Parameter(b.to(dtype))))
    return pairs


def full_gradient(w, target, step):
    """∂L/∂W [m, n] of a loss that changes with the step, so that the moments carry something over."""
    return np.tanh(w - target) + 0.3 * np.sin((step + 1) * target)


def fill_gradients(pairs, targets, step):
    """Put the gradients of the factors in place; return the full ones."""
    full = []
    for (a, b), target in zip(pairs, targets, strict=True):
        g = full_gradient((b @ a).detach().numpy().astype(np.float64), target, step)
        a.grad = torch.from_numpy(b.detach().numpy().astype(np.float64).T @ g).to(a.dtype)
        b.grad = torch.from_numpy(g @ a.detach().numpy().astype(np.float64).T).to(b.dtype)
        full.append(g)
    return full


SHAPES = [(5, 7), (7, 5), (5, 7), (6, 6)]


@pytest.mark.parametrize("start_at_zero", [False, True])
@pytest.mark.parametrize("rank", [1, 3])
def test_steps_follow_the_equations(rank, start_at_zero):
    settings = {"lr": 0.2, "betas": (0.8, 0.9), "eps": 1e-4, "damping": 1e-6}
    pairs = pairs_of(SHAPES, rank, start_at_zero=start_at_zero)
    references = [Reference(a.detach().numpy(), b.detach().numpy(), **settings) for a, b in pairs]
    targets = [np.random.default_rng(i).normal(size=shape) for i, shape in enumerate(SHAPES)]
    optimizer = LoFTAdamW(pairs, **settings)
    for step in range(7):
        full = fill_gradients(pairs, targets, step)
        norm = np.sqrt(sum(r.norm(g) ** 2 for r, g in zip(references, full, strict=True)))
        assert float(optimizer.full_norm()) == pytest.approx(norm, rel=1e-9)
        optimizer.step()
        for (a, b), reference, g in zip(pairs, references, full, strict=True):
            reference.step(g)
            np.testing.assert_allclose(a.detach().numpy(), reference.a, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(b.detach().numpy(), reference.b, rtol=1e-7, atol=1e-9)


def test_transport_keeps_the_full_second_moment_when_the_factor_is_rewritten():
    """B → BT spans the same columns: the full-space V must stay, which RᵀPR would not give."""
    m, n, r = 6, 4, 3
    [(a, b)] = pairs_of([(m, n)], r)
    optimizer = LoFTAdamW([(a, b)], lr=0.0, betas=(0.9, 0.5), damping=1e-12)
    rng = np.random.default_rng(0)
    full = rng.normal(size=(m, n))
    v = np.zeros((m, n))
    for _ in range(3):
        projector = b.detach().numpy() @ np.linalg.pinv(b.detach().numpy())
        a.grad, b.grad = torch.from_numpy(b.detach().numpy().T @ full), torch.zeros_like(b)
        optimizer.step()
        v = 0.5 * v + 0.5 * (projector @ full) ** 2
        p = optimizer.state[a]["lora_A"]["P"][0].numpy()
        held = np.einsum("ir,jrs,is->ij", b.detach().numpy(), p, b.detach().numpy())
        np.testing.assert_allclose(held, v, rtol=1e-6)
        with torch.no_grad():
            b.copy_(b @ torch.from_numpy(rng.normal(size=(r, r))))
        full = rng.normal(size=(m, n))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_full_rank_is_adamw_on_the_matrix(weight_decay):
    """Square regular factors, no damping: BA moves as AdamW moves W (Tastan et al. 2025)."""
    n = 6
    pairs = pairs_of([(n, n)] * 2, n, seed=3)
    targets = [np.random.default_rng(9 + i).normal(size=(n, n)) for i in range(2)]
    settings = {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-4, "weight_decay": weight_decay}
    full = [torch.nn.Parameter((b @ a).detach().clone()) for a, b in pairs]
    loft, adamw = LoFTAdamW(pairs, damping=0.0, **settings), torch.optim.AdamW(full, **settings)
    for step in range(12):
        fill_gradients(pairs, targets, step)
        for w, target in zip(full, targets, strict=True):
            w.grad = torch.from_numpy(full_gradient(w.detach().numpy(), target, step))
        norm = torch.nn.utils.get_total_norm([w.grad for w in full])
        assert float(loft.full_norm()) == pytest.approx(float(norm), rel=1e-8)
        loft.step()
        adamw.step()
        for (a, b), w in zip(pairs, full, strict=True):
            torch.testing.assert_close((b @ a).detach(), w.detach(), rtol=1e-8, atol=1e-8)


def test_float32_stays_near_float64():
    shapes, rank = [(16, 24), (24, 16)], 4
    targets = [np.random.default_rng(i).normal(size=shape) for i, shape in enumerate(shapes)]
    both = {dtype: pairs_of(shapes, rank, dtype, start_at_zero=True) for dtype in (torch.float64, torch.float32)}
    for pairs in both.values():
        optimizer = LoFTAdamW(pairs, lr=1e-2)
        for step in range(10):
            fill_gradients(pairs, targets, step)
            optimizer.step()
    for (a, b), (c, d) in zip(*both.values(), strict=True):
        w = (b @ a).detach()
        assert float((w - (d @ c).detach().double()).norm() / w.norm()) < 1e-3


def test_b_moves_first_then_by_turns():
    pairs = pairs_of([(5, 7)], 2)
    optimizer = LoFTAdamW(pairs, lr=0.1)
    for step in range(4):
        before = [p.detach().clone() for p in pairs[0]]
        fill_gradients(pairs, [np.ones((5, 7))], step)
        optimizer.step()
        still, moved = (0, 1) if step % 2 == 0 else (1, 0)
        assert torch.equal(before[still], pairs[0][still])
        assert not torch.equal(before[moved], pairs[0][moved])


def test_matrices_of_one_shape_are_stacked_without_changing_the_result(monkeypatch):
    shapes = [(8, 8)] * 5
    targets = [np.random.default_rng(i).normal(size=(8, 8)) for i in range(5)]
    results = []
    for workspace in (2**24, 1, 2 * 64):
        monkeypatch.setattr(loft_optimizer, "WORKSPACE", workspace)
        pairs = pairs_of(shapes, 2)
        optimizer = LoFTAdamW(pairs, lr=0.1)
        for step in range(4):
            fill_gradients(pairs, targets, step)
            optimizer.step()
        results.append((len(optimizer.state), [(b @ a).detach() for a, b in pairs]))
    assert [count for count, _ in results] == [1, 5, 3]
    for _, weights in results[1:]:
        for w, expected in zip(weights, results[0][1], strict=True):
            torch.testing.assert_close(w, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stop", [3, 4])
def test_a_resumed_optimizer_goes_on_to_the_same_bits(stop):
    targets = [np.random.default_rng(i).normal(size=shape) for i, shape in enumerate(SHAPES)]

    def run(pairs, optimizer, steps):
        for step in steps:
            fill_gradients(pairs, targets, step)
            optimizer.step()

    straight = pairs_of(SHAPES, 3, torch.float32)
    run(straight, LoFTAdamW(straight, lr=0.1), range(8))
    first = pairs_of(SHAPES, 3, torch.float32)
    optimizer = LoFTAdamW(first, lr=0.1)
    run(first, optimizer, range(stop))
    file = io.BytesIO()
    torch.save({"factors": [[p.detach() for p in pair] for pair in first], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = pairs_of(SHAPES, 3, torch.float32, seed=5)
    with torch.no_grad():
        for pair, values in zip(second, saved["factors"], strict=True):
            for parameter, value in zip(pair, values, strict=True):
                parameter.copy_(value)
    resumed = LoFTAdamW(second, lr=0.7)
    resumed.load_state_dict(saved["optimizer"])
    run(second, resumed, range(stop, 8))
    for a, b in zip(straight, second, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_parameters_without_their_shapes_are_refused():
    flat = torch.nn.Parameter(torch.zeros(35 + 21))
    with pytest.raises(UserError, match="flattened") as error:
        LoFTAdamW([(flat, torch.nn.Parameter(torch.zeros(4)))], lr=0.1)
    assert "\n" not in str(error.value)
    a, b = pairs_of([(5, 7)], 3)[0]
    with pytest.raises(UserError, match="flattened"):
        LoFTAdamW([(b, a)], lr=0.1)
    optimizer = LoFTAdamW([(a, b)], lr=0.1)
    optimizer.param_groups[0]["params"] = [flat]  # what a sharding wrapper does to an optimizer that it takes over
    flat.grad = torch.zeros_like(flat)
    with pytest.raises(UserError, match="flattened"):
        optimizer.step()


def variant(rank=4, **changed):
    fields = {
        "name": "loft",
        "rank": rank,
        "alpha": rank,
        "dropout": 0.0,
        "target_modules": TARGETS,
        "eps": 1e-4,
        "damping": 1e-6,
    }
    return LoFT(**fields | changed)


@pytest.fixture
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).requires_grad_(False)


def test_training_clips_by_the_full_space_norm_and_states_its_memory(llama):
    method = variant()
    linear = {name: m for name, m in llama.named_modules() if isinstance(m, torch.nn.Linear)}
    shapes = {name: (m.out_features, m.in_features) for name, m in linear.items()}
    method.check(shapes)
    model = method.attach(llama, torch.Generator().manual_seed(1))
    optimizer = method.optimizer(model, 1e-2, **ADAMW)
    ids = torch.randint(61, (4, 12), generator=torch.Generator().manual_seed(2))
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        losses.append(loss.item())
        squared, before = 0.0, []
        for _, layer in adapter_layers(model):
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            before += [a.grad.clone(), b.grad.clone()]
            a64, b64, da, db = (t.detach().double().numpy() for t in (a, b, a.grad, b.grad))
            ridge = 1e-6 * np.eye(4)
            if step % 2 == 0:
                squared += np.linalg.norm(db @ np.linalg.inv(a64 @ a64.T + ridge) @ a64) ** 2
            else:
                squared += np.linalg.norm(b64 @ np.linalg.inv(b64.T @ b64 + ridge) @ da) ** 2
        norm = method.clip(model, optimizer, 0.5)
        assert norm == pytest.approx(np.sqrt(squared), rel=1e-4)
        factor = min(1.0, 0.5 / (norm + 1e-6))
        after = [
            p.grad
            for _, layer in adapter_layers(model)
            for p in (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        ]
        for old, new in zip(before, after, strict=True):
            torch.testing.assert_close(new, factor * old)
        optimizer.step()
    assert losses[-1] < losses[0]
    held = sum(t.numel() * t.element_size() for s in optimizer.state.values() for side in s.values() for t in side.values())
    assert held == method.optimizer_bytes(shapes)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.trainable_parameters(shapes)


def test_eps_and_damping_are_the_variants_own(llama):
    model = variant(eps=0.25, damping=0.5).attach(llama, torch.Generator().manual_seed(1))
    [group] = variant(eps=0.25, damping=0.5).optimizer(model, 1e-2, **ADAMW).param_groups
    assert (group["eps"], group["damping"], group["weight_decay"]) == (0.25, 0.5, 0.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"alpha": 8}, "alpha = rank"), ({"eps": 0}, "variant.eps=0"), ({"damping": 0.0}, "variant.damping=0.0")],
)
def test_bad_settings_give_one_line(changed, words):
    with pytest.raises(UserError, match=words) as error:
        variant(**changed).check(dict.fromkeys(TARGETS, (8, 8)))
    assert "\n" not in str(error.value)
