"""The structured config: every key that exists, its type, and whether it decides a cell's result."""

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

# Keys that say where or how fast, never what comes out. They stay out of a cell's identity (see records.identity).
KNOB = {"identity": False}
CONTROL = {"identity": False, "recorded": False}  # how a process goes about it: not even in the record


@dataclass
class ModelConfig:
    """A base model: where its weights come from and, for ``weights: random``, its shape."""

    name: str = MISSING
    hub: str | None = None  # Hugging Face hub id
    revision: str | None = None  # hub commit; part of the identity through models.fingerprint
    package: str | None = None  # installed Python package that carries the weights
    file: str | None = None  # file or folder inside that package
    path: str | None = field(default=None, metadata=KNOB)  # local folder, instead of hub and package
    weights: str = "pretrained"  # pretrained | random
    dtype: str = "auto"  # auto | float32 | bfloat16
    architecture: dict[str, Any] = field(default_factory=dict)  # AutoConfig.for_model(**architecture)


@dataclass
class TrainerConfig:
    """The training loop; values and their sources are in conf/trainer/default.yaml."""

    max_length: int = MISSING
    warmup_ratio: float = MISSING
    max_grad_norm: float = MISSING
    weight_decay: float = MISSING
    betas: tuple[float, float] = MISSING
    eps: float = MISSING
    micro_batch_tokens: int = field(default=MISSING, metadata=KNOB)
    max_padding: float = field(default=MISSING, metadata=KNOB)
    checkpoint_minutes: float = field(default=MISSING, metadata=KNOB)


@dataclass
class Config:
    """One cell. The grid's axes are the top-level keys; everything else sits in its group."""

    model: ModelConfig = MISSING
    task: Any = MISSING
    variant: Any = MISSING
    trainer: TrainerConfig = MISSING
    evaluator: Any = MISSING
    tracker: Any = field(default=MISSING, metadata=CONTROL)
    lr: float = MISSING
    batch_size: int = MISSING
    rank: int = MISSING
    seed: int = MISSING
    train_samples: int | None = MISSING
    train_fraction: float = MISSING
    subset: Any = MISSING
    epochs: int = MISSING
    hessian: Any = field(default=MISSING, metadata=KNOB)
    output_dir: str = field(default=MISSING, metadata=CONTROL)
    device: str = field(default=MISSING, metadata=KNOB)
    save_adapter: bool = field(default=False, metadata=KNOB)
    plan: bool = field(default=False, metadata=CONTROL)
    when_busy: str = field(default="wait", metadata=CONTROL)  # wait | defer: a cell that another process is training


def knobs(cls: type) -> set[str]:
    """Names of the fields of a schema class that do not decide a result."""
    return {f.name for f in fields(cls) if f.metadata.get("identity") is False}


def controls(cls: type) -> set[str]:
    """Names of the fields of a schema class that a record leaves out."""
    return {f.name for f in fields(cls) if f.metadata.get("recorded") is False}


def register() -> None:
    """Put the schema into Hydra's store under the name that conf/config.yaml lists first."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)
