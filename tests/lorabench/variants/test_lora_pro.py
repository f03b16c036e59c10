"""LoRA-Pro against its equations in float64 numpy, step by step and through training, and against least squares."""

import numpy as np
import pytest
import torch
from scipy.linalg import solve_sylvester

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.loss import backward
from lorabench.training.seed import generator
from lorabench.variants.base import adapter_layers
from lorabench.variants.optimizers.lora_pro import LoRAProAdamW, Projection

SHAPES = [(5, 7), (7, 5), (6, 6)]
BATCHES = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]


class Reference:
    """The equations for one matrix in float64, from the full gradient: A [r, n], B [m, r]."""

    def __init__(self, a, b, scale, betas, eps, damping, decay=0.0):
        self.a, self.b, self.s, self.betas, self.eps, self.decay = a.copy(), b.copy(), scale, betas, eps, decay
        self.ridge = damping * np.eye(len(a))
        self.m, self.v, self.t = np.zeros((len(b), a.shape[1])), np.zeros((len(b), a.shape[1])), 0

    def factors(self, full):
        """g_A and g_B of a full gradient [m, n], for X = 0."""
        a, b, s = self.a, self.b, self.s
        of_a, of_b = np.linalg.inv(b.T @ b + self.ridge), np.linalg.inv(a @ a.T + self.ridge)
        return of_a @ b.T @ full / s, (np.eye(len(b)) - b @ of_a @ b.T) @ full @ a.T @ of_b / s

    def step(self, full, lr):
        a, b, s, (beta1, beta2) = self.a, self.b, self.s, self.betas
        self.t += 1
        g_a, g_b = self.factors(full)
        equivalent = s * b @ g_a + s * g_b @ a
        self.m = beta1 * self.m + (1 - beta1) * equivalent
        self.v = beta2 * self.v + (1 - beta2) * equivalent**2
        u = self.m / (1 - beta1**self.t) / (np.sqrt(self.v / (1 - beta2**self.t)) + self.eps)
        g_a, g_b = self.factors(u)
        x = solve_sylvester(b.T @ b, a @ a.T, -g_a @ a.T)
        self.a = (1 - lr * self.decay) * a - lr * (g_a + x @ a)
        self.b = (1 - lr * self.decay) * b - lr * (g_b - b @ x)


def pairs_of(shapes, rank, dtype=torch.float64, start_at_zero=False):
    """Random (lora_A, lora_B) of each shape (m, n)."""
    draw = torch.Generator().manual_seed(0)
    pairs = []
    for m, n in shapes:
        a = torch.randn(rank, n, generator=draw, dtype=torch.float64)
        b = torch.randn(m, rank, generator=draw, dtype=torch.float64) * (not start_at_zero)
        pairs.append((torch.nn.Parameter(a.to(dtype)), torch.nn.Parameter(b.to(dtype))))
    return pairs


def fill_gradients(pairs, scale, step):
    """Put the factors' gradients of a loss in place that changes with the step; return the full ones [m, n]."""
    full = []
    for number, (a, b) in enumerate(pairs):
        a64, b64 = (p.detach().double().numpy() for p in (a, b))
        target = np.random.default_rng(number).normal(size=(len(b), a.shape[1]))
        g = np.tanh(scale * b64 @ a64 - target) + 0.3 * np.sin((step + 1) * target)
        a.grad, b.grad = (torch.from_numpy(grad).to(a.dtype) for grad in (scale * b64.T @ g, scale * g @ a64.T))
        full.append(g)
    return full


@pytest.mark.parametrize("start_at_zero", [False, True])
@pytest.mark.parametrize(("rank", "scale"), [(1, 1.0), (3, 1.5)])
def test_steps_follow_the_equations(rank, scale, start_at_zero):
    settings = {"betas": (0.8, 0.9), "eps": 1e-4, "damping": 1e-6}
    pairs = pairs_of(SHAPES, rank, start_at_zero=start_at_zero)
    references = [Reference(a.detach().numpy(), b.detach().numpy(), scale, **settings, decay=0.1) for a, b in pairs]
    optimizer = LoRAProAdamW(pairs, 0.0, scale, **settings, weight_decay=0.1)
    for step, rate in enumerate([0.0, 0.1, 0.2, 0.1, 0.05]):  # a warmup begins at 0: B = 0 twice
        optimizer.param_groups[0]["lr"] = rate
        full = fill_gradients(pairs, scale, step)
        optimizer.step()
        for (a, b), reference, g in zip(pairs, references, full, strict=True):
            reference.step(g, rate)
            np.testing.assert_allclose(a.detach().numpy(), reference.a, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(b.detach().numpy(), reference.b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("rank", "scale"), [(2, 1.0), (3, 0.5)])
def test_no_other_step_of_the_factors_is_nearer_to_the_gradient(rank, scale):
    """g̃ is the least-squares solution over all (g_A, g_B), and X leaves these nearest to ∇_A and ∇_B (theorems 2.1 and 2.3)."""
    m, n = 6, 5
    [(a, b)] = pairs_of([(m, n)], rank)
    full = torch.from_numpy(np.random.default_rng(5).normal(size=(m, n)))
    with torch.no_grad():
        projection, gradients = Projection(a, b, scale, damping=0.0), (scale * b.T @ full, scale * full @ a.T)
        x = projection.balance(gradients[0])
        g_a, g_b = projection.factors(*gradients)
        chosen = torch.cat([(g_a + x @ a).flatten(), (g_b - b @ x).flatten()]).numpy()
    a, b = a.detach().numpy(), b.detach().numpy()
    of_a, of_b = scale * np.kron(b, np.eye(n)), scale * np.kron(np.eye(m), a.T)  # of row-major g_A and g_B to row-major g̃
    to_w = np.hstack([of_a, of_b])
    best = np.linalg.lstsq(to_w, full.numpy().ravel(), rcond=None)[0]
    np.testing.assert_allclose(to_w @ chosen, to_w @ best, atol=1e-10)
    raw = np.concatenate([gradient.numpy().ravel() for gradient in gradients])
    nearest = best + (np.eye(len(raw)) - np.linalg.pinv(to_w) @ to_w) @ (raw - best)  # of all that give g̃
    np.testing.assert_allclose(chosen, nearest, atol=1e-9)


def test_at_full_rank_a_small_step_is_adamws_on_the_matrix():
    n, lr = 5, 1e-7
    [(a, b)] = pairs_of([(n, n)], n)
    w = torch.nn.Parameter((2 * b @ a).detach().clone())
    start = w.detach().clone()
    settings = {"betas": (0.9, 0.99), "eps": 1e-4}
    pro, adamw = (
        LoRAProAdamW([(a, b)], lr, 2.0, damping=0.0, **settings),
        torch.optim.AdamW([w], lr, weight_decay=0.0, **settings),
    )
    for step in range(5):
        [full] = fill_gradients([(a, b)], 2.0, step)
        w.grad = torch.from_numpy(full)
        pro.step()
        adamw.step()
    expected = w.detach() - start
    assert float(((2 * b @ a).detach() - start - expected).norm() / expected.norm()) <= 1e-4


def test_float32_stays_near_float64():
    both = {dtype: pairs_of([(16, 24), (24, 16)], 4, dtype, start_at_zero=True) for dtype in (torch.float64, torch.float32)}
    for pairs in both.values():
        optimizer = LoRAProAdamW(pairs, 1e-3, 1.0)
        for step in range(10):
            fill_gradients(pairs, 1.0, step)
            optimizer.step()
    for (a, b), (c, d) in zip(*both.values(), strict=True):
        w = (b @ a).detach()
        assert float((w - (d @ c).detach().double()).norm() / w.norm()) < 1e-3


def full_gradients(model, names, merged, corpus, batch, trainer):
    """∂loss/∂W [m, n] of the plain model at these weights, by name."""
    for name in names:
        model.get_submodule(name).weight.data.copy_(torch.from_numpy(merged[name]))
        model.get_submodule(name).weight.requires_grad_(True).grad = None
    backward(model, corpus.encode(batch), trainer, corpus.tokenizer.pad_token_id)
    return {name: model.get_submodule(name).weight.grad.numpy() for name in names}


def test_training_follows_the_equations_on_the_full_gradients(fresh, build, corpus, settings):
    """Clipped as LoRA is, by the joint norm of ∇_A and ∇_B."""
    trainer, lr, s = settings(warmup_ratio=0.0, max_grad_norm=0.01, weight_decay=0.1), 1e-3, 1.5
    plain, base, variant = fresh("tiny").model.double(), fresh("tiny"), build("lora_pro", rank=4, alpha=6)
    model = variant.attach(base.model, generator(0, "init")).double()
    layers = dict(adapter_layers(model))
    fields = {"betas": tuple(trainer.betas), "eps": trainer.eps, "damping": 1e-8, "decay": 0.1}
    references = {
        name: Reference(*(f["default"].weight.detach().numpy() for f in (layer.lora_A, layer.lora_B)), s, **fields)
        for name, layer in layers.items()
    }
    start = {name: plain.get_submodule(name).weight.detach().numpy().copy() for name in layers}
    done = train(model, variant, corpus, BATCHES, lr=lr, settings=trainer, dropout_seed=0)
    for step, batch in enumerate(BATCHES):
        merged = {name: start[name] + s * r.b @ r.a for name, r in references.items()}
        gradients = full_gradients(plain, layers, merged, corpus, batch, trainer)
        squares = [np.sum((r.b.T @ gradients[k]) ** 2) + np.sum((gradients[k] @ r.a.T) ** 2) for k, r in references.items()]
        norm = s * np.sqrt(sum(squares))
        assert done.grad_norm[step] == pytest.approx(norm, rel=1e-5) and norm > 0.01
        for name, reference in references.items():
            reference.step(gradients[name] * 0.01 / (norm + 1e-6), lr * (1 + np.cos(np.pi * step / 3)) / 2)
    for name, reference in references.items():
        weights = (layers[name].lora_A["default"].weight, layers[name].lora_B["default"].weight)
        for weight, expected in zip(weights, (reference.a, reference.b), strict=True):
            np.testing.assert_allclose(
                weight.detach().numpy(), expected, atol=1e-6 * np.abs(expected).max(), rtol=0, err_msg=name
            )


def test_an_interrupted_cell_goes_on_to_the_same_bits(cell, tmp_path, run_until):
    words = ["variant=lora_pro", "train_samples=64", "batch_size=8", "task.test_samples=2", "task.validation_samples=2"]
    words += ["lr=5e-4", "save_adapter=true", "trainer.checkpoint_minutes=0"]
    whole, broken = (cell(*words, f"output_dir={tmp_path / name}") for name in ("whole", "broken"))
    run(whole)
    run_until(broken, 4)
    run(broken)
    assert broken.record()["training"]["loss"] == whole.record()["training"]["loss"]
    files = [c.folder / "trained.safetensors" for c in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.record()["training"]["optimizer"] == "lorabench.variants.optimizers.lora_pro.LoRAProAdamW"


def test_its_state_is_that_of_full_fine_tuning(build, fresh):
    base, variant = fresh("tiny"), build("lora_pro")
    shapes = linear_shapes(base.spec)
    model = variant.attach(base.model, generator(0, "init"))
    optimizer = variant.optimizer(model, 1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    optimizer.step()
    kept = [moment for state in optimizer.state.values() for moment in state.values()]
    assert sum(moment.numel() * moment.element_size() for moment in kept) == variant.optimizer_bytes(shapes)
    assert variant.optimizer_bytes(shapes) == build("full").optimizer_bytes(shapes)


@pytest.mark.parametrize("damping", [0, -1e-8, float("nan")])
def test_a_wrong_damping_is_one_line(build, damping):
    variant = build("lora_pro", damping=damping)
    with pytest.raises(UserError, match=f"variant.damping={damping} must be greater than 0") as error:
        variant.check(dict.fromkeys(variant.target_modules, (64, 64)))
    assert "\n" not in str(error.value)
