"""The structured config of ``python -m hessian``: every key that exists and its type."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from lorabench import schema
from lorabench.schema import ModelConfig, TrainerConfig


@dataclass
class HessianConfig:
    """How eigenvalues are computed; values and their sources are in conf/hessian.yaml."""

    tol: float = MISSING
    max_iter: int = MISSING
    memory_gb: float = MISSING
    attention: str = MISSING
    checkpoint: str | None = MISSING
    precision: float = MISSING


@dataclass
class Config:
    """One study."""

    model: ModelConfig = MISSING
    task: Any = MISSING
    trainer: TrainerConfig = MISSING
    variants: list[str] = MISSING
    matrices: Any = MISSING  # all, or names
    layers: Any = MISSING  # all, auto, or numbers
    rank: int = MISSING
    seed: int = MISSING
    data_seed: int | None = None
    samples: Any = MISSING  # auto, or a number
    blocks: str = MISSING  # each | joint
    k: int = MISSING
    output_dir: str = MISSING
    device: str = MISSING
    hessian: HessianConfig = field(default_factory=HessianConfig)


def register() -> None:
    """Put the study's schema into Hydra's store under the name that conf/hessian.yaml lists first, and a cell's."""
    schema.register()
    ConfigStore.instance().store(name="hessian_schema", node=Config)
