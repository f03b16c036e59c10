"""Every variant of conf/variant, attached to small models."""

from functools import lru_cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lorabench.files import cache_dir
from lorabench.models.shapes import linear_shapes
from lorabench.schema import CONF
from lorabench.training import seed
from lorabench.training.data import collate
from lorabench.training.loop import train
from lorabench.variants.base import adapter_layers

VARIANTS = sorted({file.stem for file in (CONF / "variant").glob("*.yaml")} - {"peft"})  # test_peft goes through its types
MODELS = ["tiny", "llama", "qwen3", "gemma3", "smollm2"]  # see ``fresh``


def pytest_generate_tests(metafunc):
    """``variant_name`` runs over all yamls of conf/variant, ``model_name`` over all models."""
    for argument, values in (("variant_name", VARIANTS), ("model_name", MODELS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, values)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of the tests' own, with the converted models of the real one."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(cache_dir("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORABENCH_CACHE", str(folder))
        yield folder


@lru_cache
def node(name, *overrides):
    """A variant's part of the config."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", [f"variant={name}", *overrides]), resolve=True)["variant"]


@pytest.fixture(scope="session")
def composed():
    """A function from a variant's name and overrides to its part of the config."""
    return node


@pytest.fixture(scope="session")
def build():
    """A function from a variant's name and its fields to the variant; rank 8 unless given."""

    def make(name, rank=8, **fields):
        return instantiate(node(name, f"rank={rank}") | fields, _convert_="all")

    return make


@pytest.fixture(scope="session")
def attach(calibration):
    """A function that attaches a variant to a ``Base`` with the generator and (few) samples of a seed."""

    def run(variant, base, cell_seed=0):
        return variant.attach(base.model, seed.generator(cell_seed, "init"), calibration(base, cell_seed, samples=4))

    return run


@pytest.fixture(scope="session")
def batch(calibration):
    """A function from a ``Base`` to ids and attention mask [3, time] of real texts of unlike length."""

    def make(base):
        return collate(calibration(base).corpus.encode(range(3)), base.tokenizer.pad_token_id, base.device)[:2]

    return make


@pytest.fixture(scope="session")
def logits(batch):
    """A function from a ``Base``, and a model in place of its own, to the logits at the real tokens, [tokens, vocab]."""

    def run(base, model=None):
        ids, mask = batch(base)
        model = model or base.model
        half = model.dtype == torch.bfloat16  # as in the trainer
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return model(input_ids=ids, attention_mask=mask).logits[mask.bool()].float()

    return run


@pytest.fixture(scope="session")
def base_logits(fresh, logits):
    """A function from a model's name to the untouched base's ``logits``, computed once."""

    @lru_cache
    def run(name):
        return logits(fresh(name))

    return run


@pytest.fixture(scope="session")
def shift():
    """A function that moves every trainable parameter at random, as training would."""

    def move(model, size=0.02):
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += size * torch.randn(parameter.shape, generator=generator)

    return move


@pytest.fixture(scope="session")
def loss_of():
    """A function from a plain model, weights by name in the place of its own, and examples to the loss of training."""

    def run(model, weights, examples):
        total = 0.0
        for example in examples:
            ids = torch.tensor([example.ids])
            logits = torch.func.functional_call(model, weights, (), {"input_ids": ids}).logits[
                0, example.prompt_length - 1 : -1
            ]
            total = total + torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
        return total / sum(example.target_tokens for example in examples)

    return run


@pytest.fixture
def follows(fresh, attach, corpus, settings, loss_of, relative):
    """A function that holds three steps of a variant against AdamW in float64 on the weights that a formula gives.

    ``parts`` gives the tensors of an adapted layer that the formula needs, trained or frozen, those that layers share as the
    same tensor; ``formula`` makes the whole weight [m, n] of the layer's frozen one and them, all in float64. ``begin`` may set
    them before a step, of its learning rate.
    """

    def check(variant, parts, formula, lr=2e-2, model="tiny", begin=lambda rate, values: None):
        base, plain, before = fresh(model), fresh(model).model.double(), fresh(model)
        variant.check(linear_shapes(base.spec))
        adapted = attach(variant, base)
        twins = {}

        def twin(p):
            if id(p) not in twins:
                twins[id(p)] = p, p.detach().double().clone().requires_grad_(p.requires_grad)
            return twins[id(p)][1]

        layers = dict(adapter_layers(adapted))
        values = {key: [twin(p) for p in parts(layer)] for key, layer in layers.items()}
        frozen = {key: layer.get_base_layer().weight.detach().double().clone() for key, layer in layers.items()}
        trained = list(variant.trained(adapted).values())
        assert {id(p) for p in trained} == {place for place, (_, copy) in twins.items() if copy.requires_grad}
        copies, trainer = [twin(p) for p in trained], settings(eps=1e-4)
        adamw = torch.optim.AdamW(copies, betas=trainer.betas, eps=trainer.eps, weight_decay=trainer.weight_decay)
        done = train(adapted, variant, corpus, [list(range(8))] * 3, lr=lr, settings=trainer, dropout_seed=0)
        for rate, norm, loss in zip(done.lr, done.grad_norm, done.loss, strict=True):
            begin(rate[0], values)
            weights = {f"{key}.weight": formula(frozen[key], *values[key]) for key in layers}
            expected = loss_of(plain, weights, corpus.encode(range(8)))
            adamw.zero_grad()
            expected.backward()
            full = torch.nn.utils.clip_grad_norm_(copies, trainer.max_grad_norm)
            adamw.param_groups[0]["lr"] = rate[0]
            adamw.step()
            assert (loss, norm) == (pytest.approx(expected.item(), rel=1e-5), pytest.approx(float(full), rel=1e-3))
        for p, copy in twins.values():
            torch.testing.assert_close(p.detach().double(), copy.detach(), atol=5e-3 * lr, rtol=0)
        merged = variant.merged(adapted)
        with torch.no_grad():
            for key in layers:
                now = formula(frozen[key], *[p.detach().double() for p in parts(layers[key])])
                torch.testing.assert_close(merged[f"{key}.weight"].double(), now, atol=1e-6, rtol=1e-5)
        assert any(relative(merged[name], before.model.get_parameter(name)) > 1e-3 for name in merged)
        return adapted

    return check


@pytest.fixture(scope="session")
def same_bits():
    """Whether two models hold the same values under the same names."""

    def compare(model, expected):
        values, reference = model.state_dict(), expected.state_dict()
        return values.keys() == reference.keys() and all(torch.equal(values[name], reference[name]) for name in values)

    return compare


@pytest.fixture(scope="session")
def layer_inputs():
    """A function from a ``Base``, its calibration and matrices to the inputs of each on each sample, [time, n] in float64."""

    def run(base, samples, names):
        inputs = {name: [] for name in names}
        handles = [
            base.model.get_submodule(name).register_forward_pre_hook(
                lambda _, args, name=name: inputs[name].append(args[0][0].double().numpy())
            )
            for name in names
        ]
        with torch.no_grad():
            for example in samples.corpus.encode(samples.indices):
                base.model(input_ids=torch.tensor([example.ids]))
        for handle in handles:
            handle.remove()
        return inputs

    return run
