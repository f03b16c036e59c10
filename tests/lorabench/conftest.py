import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from lorabench import schema
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.schema import ModelConfig, TrainerConfig
from lorabench.tasks.arithmetic import Arithmetic
from lorabench.training import seed
from lorabench.training.data import Corpus
from lorabench.variants.lora import LoRA

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
CONF = Path(__file__).resolve().parents[2] / "conf"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
schema.register()


@pytest.fixture
def settings():
    """The trainer's defaults, with keywords to change some."""

    def make(**changed) -> TrainerConfig:
        defaults = {
            "max_length": 512,
            "warmup_ratio": 0.03,
            "max_grad_norm": 1.0,
            "weight_decay": 0.0,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "micro_batch_tokens": 8192,
            "max_padding": 0.1,
            "checkpoint_minutes": 10.0,
        }
        return TrainerConfig(**{**defaults, **changed})

    return make


@pytest.fixture
def tiny():
    """The embedded model, its pristine weights restored afterwards."""
    spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")
    base = current().base(spec, torch.device("cpu"))
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
