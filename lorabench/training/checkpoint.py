"""Checkpoints inside a cell: what an interrupted run needs to go on to the same bits."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lorabench.errors import UserError
from lorabench.files import beside, replaced
from lorabench.models.base import bit_sum
from lorabench.terminal.bars import note
from lorabench.training.sealed import Damaged, read_sealed, write_sealed

Parameters = Mapping[str, torch.Tensor]


class Unusable(Exception):
    """A checkpoint of another structure; it is set aside, and what it was loaded into cannot be trusted."""


BY_STEP = ("loss", "grad_norm", "lr")
"""Of the progress: lists with an entry for each step."""


class Checkpoint:
    """A file with adapter, optimizer, random state and progress, replaced atomically every few minutes."""

    def __init__(self, file: Path, minutes: float):
        self.file, self.seconds = file, 60 * minutes
        self._last = time.monotonic()
        self._start = ""
        self._base: dict[str, torch.Tensor] = {}
        self._sums: dict[str, int] = {}

    def begin(self, trained: Parameters, base: Parameters) -> None:
        """Note the values at the start: a base that was changed to fit the parameters fits no others.

        Args:
            trained: what training moves.
            base: the base's weights that a method's hooks may change besides.
        """
        self._start = fingerprint(trained)
        own = {id(p) for p in trained.values()}
        self._base = {name: weight for name, weight in base.items() if id(weight) not in own}
        self._sums = {name: bit_sum(weight) for name, weight in self._base.items()}

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._last >= self.seconds

    def write(
        self, trained: Parameters, optimizer: torch.optim.Optimizer, progress: dict[str, Any], variant: dict[str, Any]
    ) -> None:
        """Write the state after a step; ``variant`` is what the method keeps beside its parameters and optimizer."""
        state = {
            "start": self._start,
            "trained": {name: p.detach() for name, p in trained.items()},
            "base": {name: w.detach() for name, w in self._base.items() if bit_sum(w) != self._sums[name]},
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "progress": progress,
            "variant": variant,
        }
        write_sealed(self.file, state)
        self._last = time.monotonic()

    def restore(
        self,
        trained: Parameters,
        optimizer: torch.optim.Optimizer,
        load_variant: Callable[[dict[str, Any]], None],
        progress: dict[str, Any],
        total: int,
    ) -> dict[str, Any] | None:
        """Load the state into parameters, optimizer, variant and random generators; return the progress, None without one.

        Args:
            trained: what training moves.
            optimizer: of it.
            load_variant: takes what the method keeps.
            progress: that of a run at its start, which has the same keys.
            total: steps of the whole run.

        Raises:
            Unusable: the state is none of such a run; part of it may be loaded, and the file is set aside.
        """
        if not os.path.lexists(self.file):
            return None
        try:
            state = read_sealed(self.file)
        except (Damaged, OSError) as error:
            self._set_aside(str(error))
            return None
        if state.get("start") != self._start:
            note(f"{self.file} belongs to a run that started from other values (other threads or hardware?): begun anew")
            return None
        try:
            optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:  # a method that has made other groups since, which the new optimizer does not have
            note(f"{self.file} does not fit the optimizer ({error}): this cell begins anew")
            return None
        except (AttributeError, LookupError, TypeError, RuntimeError) as error:
            raise self._unusable(error) from error
        try:
            saved = self._load(state, trained, progress, total)
            load_variant(state["variant"])
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise self._unusable(error) from error
        note(f"going on from step {saved['steps']} of an interrupted run")
        return saved

    def _load(self, state: dict[str, Any], trained: Parameters, progress: dict[str, Any], total: int) -> dict[str, Any]:
        """Into parameters and generators; raises what a state of another structure makes raise."""
        saved: dict[str, Any] = state["progress"]
        if saved.keys() != progress.keys() or any(type(saved[key]) is not type(progress[key]) for key in progress):
            raise ValueError("its progress is that of no run")
        if not 0 <= saved["steps"] <= total or any(len(saved[key]) != saved["steps"] for key in BY_STEP):
            raise ValueError(f"its {saved['steps']} steps are none of this run, which has {total}")
        of_base = {name: self._base[name] for name in state["base"]}
        for kept, parameters in ((state["trained"], trained), (state["base"], of_base)):
            if {name: p.shape for name, p in parameters.items()} != {name: value.shape for name, value in kept.items()}:
                raise ValueError("it holds the values of other parameters")
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(kept[name])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        return saved

    def _unusable(self, error: Exception) -> "Unusable":
        reason = f"{type(error).__name__}: {error}"
        self._set_aside(" ".join(reason.split()))
        return Unusable(reason)

    def _set_aside(self, reason: str) -> None:
        place = beside(self.file)
        self.file.rename(place)
        note(f"{self.file} is no checkpoint of this cell ({reason}): set aside as {place.name}, and the cell begins anew")


def fingerprint(trained: Parameters) -> str:
    """Hash of the names and bits of parameters."""
    digest = hashlib.sha256()
    for name, parameter in sorted(trained.items()):
        digest.update(name.encode() + parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_trained(trained: Parameters, file: Path) -> None:
    """Write parameters as they are, by name; an adapter's own format may hold them in another form."""
    with replaced(file) as scratch:
        save_file({name: p.detach().cpu().contiguous() for name, p in trained.items()}, scratch)


def load_trained(trained: Parameters, file: Path) -> None:
    """Copy what ``save_trained`` wrote into the same parameters of another model.

    Raises:
        UserError: the file is of other parameters.
    """
    values = load_file(file)
    if {name: p.shape for name, p in trained.items()} != {name: value.shape for name, value in values.items()}:
        raise UserError(f"{file} holds the values of other adapters than those of its cell's config")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(values[name])
