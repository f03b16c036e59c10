"""GaLore against its algorithm in float64, the authors' order of operations, and full fine-tuning."""

import io

import numpy as np
import pytest
import torch

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants.optimizers.galore import GaLoreAdamW

RANK, GAP, SCALE = 3, 2, 0.5
BETAS, EPS, DECAY, LR = (0.8, 0.95), 1e-3, 0.1, 3e-2
SHAPES = [(6, 9), (9, 6), (7, 7), (3, 12)]


def gradients(steps, seed=1):
    """One list a step, of the matrices of SHAPES."""
    draws = np.random.default_rng(seed)
    return [[draws.standard_normal(shape) for shape in SHAPES] for _ in range(steps)]


def optimizer(weights, **changed):
    settings = {
        "lr": LR,
        "rank": RANK,
        "update_proj_gap": GAP,
        "scale": SCALE,
        "betas": BETAS,
        "eps": EPS,
        "weight_decay": DECAY,
    }
    return GaLoreAdamW(weights, **settings | changed)


def steps(made, weights, all_gradients):
    for of_step in all_gradients:
        for weight, gradient in zip(weights, of_step, strict=True):
            weight.grad = torch.tensor(gradient, dtype=weight.dtype)
        made.step()


def start(dtype=torch.float64):
    draws = np.random.default_rng(0)
    return [torch.nn.Parameter(torch.tensor(draws.standard_normal(shape), dtype=dtype)) for shape in SHAPES]


def aligned(vectors, reference):
    """Singular vectors [k, r] with the signs of others: what is carried over a renewal depends on them."""
    return vectors * np.sign(np.sum(vectors * reference, axis=0))


def reference_steps(weight, of_matrix, projectors, rank=RANK):
    """The algorithm in numpy; ``projectors`` give the signs."""
    left = weight.shape[0] < weight.shape[1]
    m = v = 0.0
    for t, gradient in enumerate(of_matrix, 1):
        if (t - 1) % GAP == 0:
            u, _, vt = np.linalg.svd(gradient)
            p = aligned(u[:, :rank] if left else vt[:rank].T, projectors[(t - 1) // GAP])
        r = p.T @ gradient if left else gradient @ p
        m, v = BETAS[0] * m + (1 - BETAS[0]) * r, BETAS[1] * v + (1 - BETAS[1]) * r * r
        n = (m / (1 - BETAS[0] ** t)) / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS)
        weight = weight - LR * DECAY * weight - LR * SCALE * (p @ n if left else n @ p.T)
    return weight


def test_five_steps_are_the_algorithm():
    weights, every = start(), gradients(5)
    before = [w.detach().numpy().copy() for w in weights]
    made, projectors = optimizer(weights), []
    for number, of_step in enumerate(every):
        steps(made, weights, [of_step])
        if number % GAP == 0:
            projectors.append([made.state[w]["projector"].numpy().copy() for w in weights])
    for i, weight in enumerate(weights):
        expected = reference_steps(before[i], [of_step[i] for of_step in every], [of_time[i] for of_time in projectors])
        np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-12)
        side, rank = min(SHAPES[i]), min(RANK, *SHAPES[i])
        assert projectors[0][i].shape == (side, rank) and made.state[weight]["exp_avg"].shape == (rank, max(SHAPES[i]))
        if side > RANK:
            assert not np.allclose(np.abs(projectors[0][i]), np.abs(projectors[1][i]), atol=1e-2)  # renewed


def test_it_is_the_authors_order_of_operations_but_for_eps():
    """Theirs has lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) times M/(√V + eps), and decays last; without eps and decay both are one formula."""
    weights, every = start(), gradients(5)
    before = [w.detach().clone() for w in weights]
    made, signs = optimizer(weights, eps=0.0, weight_decay=0.0), []
    for number, of_step in enumerate(every):
        steps(made, weights, [of_step])
        if number % GAP == 0:
            signs.append([made.state[w]["projector"].clone() for w in weights])
    for i, weight in enumerate(before):
        average, square, basis = 0, 0, None
        right = weight.shape[0] >= weight.shape[1]
        for count, of_step in enumerate(every):
            gradient = torch.tensor(of_step[i])
            if count % GAP == 0:
                u, _, vt = torch.linalg.svd(gradient, full_matrices=False)
                basis = vt[:RANK].T if right else u[:, :RANK]
                basis = basis * (basis * signs[count // GAP][i]).sum(0).sign()
            low = gradient @ basis if right else basis.T @ gradient
            average, square = BETAS[0] * average + (1 - BETAS[0]) * low, BETAS[1] * square + (1 - BETAS[1]) * low**2
            size = LR * (1 - BETAS[1] ** (count + 1)) ** 0.5 / (1 - BETAS[0] ** (count + 1))
            norm = average / square.sqrt()
            weight -= size * SCALE * (norm @ basis.T if right else basis @ norm)
        torch.testing.assert_close(weights[i].detach(), weight, atol=1e-12, rtol=0)


def test_each_step_has_the_rank():
    weights, every = start(), gradients(1)
    before = [w.detach().clone() for w in weights]
    steps(optimizer(weights, weight_decay=0.0), weights, every)
    for now, was in zip(weights, before, strict=True):
        assert torch.linalg.matrix_rank(now.detach() - was, atol=1e-10) == RANK


def test_its_state_goes_through_a_checkpoint_to_the_same_bits():
    """Between two renewals, so that the projector must be the saved one."""
    every = gradients(6)
    whole, broken = start(torch.float32), start(torch.float32)
    made = optimizer(whole)
    steps(made, whole, every)
    first = optimizer(broken)
    steps(first, broken, every[:3])
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "weights": [w.detach() for w in broken]}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = [torch.nn.Parameter(w) for w in saved["weights"]]
    second = optimizer(again)
    second.load_state_dict(saved["optimizer"])
    steps(second, again, every[3:])
    assert all(map(torch.equal, again, whole))
    for ours, theirs in zip(again, whole, strict=True):
        assert all(
            torch.equal(second.state[ours][key], made.state[theirs][key]) for key in ("projector", "exp_avg", "exp_avg_sq")
        )


def test_three_steps_of_training_are_the_algorithm(fresh, corpus, settings, build, loss_of, relative):
    """With one renewal, the gradients clipped before they are projected."""
    base, reference = fresh("tiny"), fresh("tiny").model.double().requires_grad_(False)
    method = build("galore", update_proj_gap=2, scale=0.5)
    method.attach(base.model, generator(0, "init"))
    trainer = settings(eps=1e-4, weight_decay=0.1)
    kept = []
    after = lambda model, optimizer, *_: kept.append([optimizer.state[p]["projector"] for p in method.trained(model).values()])  # noqa: E731
    method.after_step = after
    done = train(base.model, method, corpus, [list(range(8))] * 3, lr=2e-2, settings=trainer, dropout_seed=0)
    names = list(method.trained(base.model))
    weights = {name: reference.get_parameter(name).detach().clone().requires_grad_() for name in names}
    first = {name: w.detach().clone() for name, w in weights.items()}
    moments = {name: [0.0, 0.0] for name in names}
    for t, (rate, norm, loss) in enumerate(zip(done.lr, done.grad_norm, done.loss, strict=True), 1):
        expected = loss_of(reference, weights, corpus.encode(range(8)))
        slopes = torch.autograd.grad(expected, list(weights.values()))
        full = float(sum(g.square().sum() for g in slopes) ** 0.5)
        assert (loss, norm) == (pytest.approx(expected.item(), rel=1e-5), pytest.approx(full, rel=1e-4))
        assert full > trainer.max_grad_norm
        for name, slope, basis in zip(names, slopes, kept[t - 1], strict=True):
            g = slope * trainer.max_grad_norm / full
            turned = g.shape[0] >= g.shape[1]
            g, p = g.T if turned else g, basis.double()
            if t in (1, 3):
                u = torch.linalg.svd(g, full_matrices=False).U[:, :8]
                assert relative(p.T @ g, p.T @ (u @ (u.T @ g))) < 0.05, name  # vectors of close values may mix
            m, v = moments[name]
            r = p.T @ g
            m, v = trainer.betas[0] * m + (1 - trainer.betas[0]) * r, trainer.betas[1] * v + (1 - trainer.betas[1]) * r**2
            moments[name] = [m, v]
            n = m / (1 - trainer.betas[0] ** t) / ((v / (1 - trainer.betas[1] ** t)).sqrt() + trainer.eps)
            change = 0.5 * rate[0] * (p @ n)
            with torch.no_grad():
                weights[name].mul_(1 - rate[0] * 0.1).sub_(change.T if turned else change)
    now = dict(base.model.named_parameters())
    for name in names:
        moved, expected = (w.detach().double() - first[name] for w in (now[name], weights[name]))
        assert relative(moved, expected) <= 5e-3, name
    pristine = dict(fresh("tiny").model.named_parameters())
    assert all(torch.equal(now[name], pristine[name]) for name in now if name not in names)


def test_counts_are_those_of_the_weights_and_of_the_state(build, tiny, fresh, corpus, settings):
    base = fresh("tiny")
    shapes = linear_shapes(base.spec)
    method = build("galore", rank=5)
    method.attach(base.model, generator(0, "init"))
    kept = []
    method.after_step = lambda model, optimizer, *_: kept.append(optimizer.state)
    train(base.model, method, corpus, [list(range(8))], lr=1e-3, settings=settings(), dropout_seed=0)
    held = sum(part.numel() * part.element_size() for state in kept[0].values() for part in state.values())
    assert held == method.optimizer_bytes(shapes)
    assert method.trainable_parameters(shapes) == build("full").trainable_parameters(shapes)
    assert held < build("full").optimizer_bytes(shapes) / 15


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rank": 0}, "rank=0 must be at least 1"),
        ({"rank": 65}, r"rank=65 is larger than .*q_proj \(128 x 64\) allows; use rank <= 64"),
        ({"update_proj_gap": 0}, "variant.update_proj_gap=0 must be at least 1"),
        ({"scale": 0.0}, "variant.scale=0.0 must be positive"),
        ({"scale": float("nan")}, "variant.scale=nan must be positive"),
        ({"target_modules": []}, "variant.target_modules is empty; name the linear layers that are trained$"),
        ({"target_modules": ["q_prj"]}, "no linear layer 'q_prj'"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build):
    method = build("galore", **fields)
    with pytest.raises(UserError, match=words) as error:
        method.check(Shapes({f"layers.0.{module}": (128, 64) for module in build("galore").target_modules}))
    assert "\n" not in str(error.value)
