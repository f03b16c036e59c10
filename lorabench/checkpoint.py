"""Checkpoints inside a cell: what an interrupted run needs to go on to the same bits."""

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorabench.errors import UserError
from lorabench.progress import PROGRESS

if TYPE_CHECKING:
    import torch


class Checkpoint:
    """A file with adapter, optimizer, random state and progress, replaced atomically every few minutes."""

    def __init__(self, file: Path, minutes: float):
        self.file, self.seconds = file, 60 * minutes
        self._last = time.monotonic()
        self._start = ""

    def begin(self, trainable: "Mapping[str, torch.Tensor]") -> None:
        """Note the parameters' values at the start: a base that was changed to fit them fits no others."""
        self._start = fingerprint(trainable)

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._last >= self.seconds

    def write(
        self, trainable: "Mapping[str, torch.Tensor]", optimizer: "torch.optim.Optimizer", progress: dict[str, Any]
    ) -> None:
        """Write the state after a step."""
        import torch

        state = {
            "start": self._start,
            "trainable": {name: p.detach() for name, p in trainable.items()},
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "progress": progress,
        }
        scratch = self.file.with_suffix(f".{os.getpid()}.tmp")
        torch.save(state, scratch)
        os.replace(scratch, self.file)
        self._last = time.monotonic()

    def restore(self, trainable: "Mapping[str, torch.Tensor]", optimizer: "torch.optim.Optimizer") -> dict[str, Any] | None:
        """Load the state into adapter, optimizer and random generators; return the progress, None without a checkpoint."""
        import torch

        if not self.file.exists():
            return None
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            PROGRESS.note(f"{self.file} cannot be read ({type(error).__name__}): this cell begins anew")
            return None
        if state.get("start") != self._start:
            PROGRESS.note(
                f"{self.file} belongs to a run that started from other values (other threads or hardware?): begun anew"
            )
            return None
        PROGRESS.note(f"going on from step {state['progress']['steps']} of an interrupted run")
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(state["trainable"][name])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        return state["progress"]

    def remove(self) -> None:
        """Delete the file: the cell has its record."""
        self.file.unlink(missing_ok=True)


def fingerprint(trainable: "Mapping[str, torch.Tensor]") -> str:
    """Hash of the names and bits of parameters."""
    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(trainable.items()):
        digest.update(name.encode() + parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_trained(model: "torch.nn.Module", file: Path) -> None:
    """Write the trainable parameters as they are, by name; an adapter's own format may hold them in another form."""
    from safetensors.torch import save_file

    save_file({name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}, file)


def load_trained(model: "torch.nn.Module", file: Path) -> None:
    """Copy what ``save_trained`` wrote into a model with the same adapters.

    Raises:
        UserError: the file is of other adapters.
    """
    import torch
    from safetensors.torch import load_file

    values, parameters = load_file(file), {name: p for name, p in model.named_parameters() if p.requires_grad}
    if {name: p.shape for name, p in parameters.items()} != {name: value.shape for name, value in values.items()}:
        raise UserError(f"{file} holds the values of other adapters than those of its cell's config")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
