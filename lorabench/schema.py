"""The structured config: every key that exists, its type, and the mark by which a field says whether it decides a result.

The marks serve every class that a config builds, dataclasses of a contributor's own included: an unmarked field decides the
result and is part of a cell's identity (``lorabench.records.identity``).

    batch_tokens: int = field(metadata=KNOB)
    include_path: str | None = field(default=None, metadata=decides_by(content))
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING

PACKAGE = Path(__file__).resolve().parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""The folder of configs: of an installed package, or of a checkout."""

KNOB = {"identity": False}
"""Says where or how fast, never what comes out: no part of a cell's identity."""

CONTROL = {"identity": False, "recorded": False}
"""Says how a process goes about it: not even in the record."""


def decides_by(what: Callable[[Any], Any]) -> dict[str, Any]:
    """The mark of a field that decides a result by ``what(value)``, a part of it or its content, and not by itself."""
    return {"identity": what}


@dataclass
class ModelConfig:
    """A base model: where its weights come from and, for ``weights: random``, its shape.

    Which weights these are is told by ``models.fingerprint``, so that of all fields only the precision counts by itself.

    Attributes:
        version: of the code that loads a model and turns texts into its tokens and back, raised whenever the same files would
            give other results.
    """

    version: ClassVar[int] = 2

    name: str = field(default=MISSING, metadata=KNOB)
    hub: str | None = field(default=None, metadata=KNOB)  # Hugging Face hub id
    revision: str | None = field(default=None, metadata=KNOB)  # hub commit
    package: str | None = field(default=None, metadata=KNOB)  # installed Python package that carries the weights
    file: str | None = field(default=None, metadata=KNOB)  # file or folder inside that package
    path: str | None = field(default=None, metadata=KNOB)  # local folder, instead of hub and package
    weights: str = field(default="pretrained", metadata=KNOB)  # pretrained | random
    dtype: str = "auto"  # auto | float32 | bfloat16
    quantization: str | None = None  # nf4 | int8
    architecture: dict[str, Any] = field(default_factory=dict, metadata=KNOB)  # AutoConfig.for_model(**architecture)


@dataclass
class TrainerConfig:
    """The training loop; values and their sources are in conf/trainer/default.yaml.

    Attributes:
        version: of the loop's code, raised whenever the same settings would give other weights.
        dropout_version: of the masks of dropout, which count where a variant drops something; 1 drew them by micro-batch.
    """

    version: ClassVar[int] = 1
    dropout_version: ClassVar[int] = 2

    max_length: int = MISSING
    warmup_ratio: float = MISSING
    max_grad_norm: float = MISSING
    weight_decay: float = MISSING
    betas: tuple[float, float] = MISSING
    eps: float = MISSING
    micro_batch_tokens: int = field(default=MISSING, metadata=KNOB)
    max_padding: float = field(default=MISSING, metadata=KNOB)
    checkpoint_minutes: float = field(default=MISSING, metadata=KNOB)
    gradient_checkpointing: bool = field(default=False, metadata=KNOB)


@dataclass
class Config:
    """One cell. The grid's axes are the top-level keys; everything else sits in its group."""

    model: ModelConfig = MISSING
    task: Any = MISSING
    variant: Any = MISSING
    trainer: TrainerConfig = MISSING
    evaluator: Any = MISSING
    tracker: Any = field(default=MISSING, metadata=CONTROL)
    probe: Any = field(default=MISSING, metadata=KNOB)
    lr: float = MISSING
    batch_size: int = MISSING
    rank: int = MISSING
    seed: int = MISSING  # of everything that is drawn, or with a data_seed of initialisation and dropout
    data_seed: int | None = None  # of subset and order; null: the seed, and the same cell
    train_samples: int | None = MISSING
    train_fraction: float = MISSING
    subset: Any = MISSING
    epochs: int = MISSING
    output_dir: str = field(default=MISSING, metadata=CONTROL)
    device: str = field(default=MISSING, metadata=KNOB)
    save_adapter: bool = field(default=False, metadata=KNOB)
    plan: bool = field(default=False, metadata=CONTROL)
    plan_device: str | None = field(default=None, metadata=CONTROL)
    cell_timeout: str | None = field(default=None, metadata=CONTROL)  # seconds, or such as 90m
    when_busy: str = field(default="wait", metadata=CONTROL)  # wait | defer: a cell that another process is training


def unrecorded_fields(cls: type) -> set[str]:
    """Names of the fields of a schema class that a record leaves out."""
    return {f.name for f in fields(cls) if f.metadata.get("recorded") is False}


def register() -> None:
    """Make known to Hydra the schema, by the name that conf/config.yaml lists first, models without a yaml, and resolvers."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from lorabench import choices

    choices.register()
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("typed", typed, replace=True)
    OmegaConf.register_new_resolver("named_after", named_after, replace=True)
    OmegaConf.register_new_resolver("samples_of", samples_of, replace=True)


def typed(name: str, kind: str | None, file: Any) -> str:
    """The resolver ``${typed:name,kind,file}``: a name with the kind of it, or else that which a JSON file states.

    >>> typed("peft", "BOFT", {})
    'peft-boft'
    """
    if not kind and isinstance(file, str):
        with contextlib.suppress(OSError, ValueError, RecursionError):  # wrong files are refused where they are read
            path = Path(file).expanduser()
            content = json.loads((path / "adapter_config.json" if path.is_dir() else path).read_text())
            kind = content.get(f"{name}_type") if isinstance(content, dict) else None
    return f"{name}-{kind.lower()}" if kind and isinstance(kind, str) else name


def named_after(data: Any) -> str:
    """The resolver ``${named_after:data}``: what a task of the user's own data is called, by its file or data set.

    A name that is a yaml's here means that one's data, so the user's get another.

    >>> named_after("~/data/my questions.csv.gz"), named_after("owner/reviews@740312add88f"), named_after("math.jsonl")
    ('my questions', 'reviews', 'math-data')
    """
    given = (data.get("path") or data.get("hub")) if hasattr(data, "get") else data
    name = Path(str(given or "custom").partition("@")[0]).name
    for suffix in (".gz", ".jsonl", ".json", ".csv", ".tsv", ".parquet"):
        name = name.removesuffix(suffix)
    taken = given and name in {file.stem for file in (CONF / "task").rglob("*.yaml")}
    return f"{name}-data" if taken else name or "custom"


def samples_of(data: Any) -> int | None:
    """The resolver ``${samples_of:data}``: how many rows a cell is trained on, 800 but for a file of the user's own.

    Of such a file nothing says how much is enough, and 800 may be more than it has.

    >>> samples_of("questions.csv"), samples_of("owner/reviews@740312add88f"), samples_of(None)
    (None, 800, 800)
    """
    return None if isinstance(data, str) and "@" not in Path(data).name else 800
