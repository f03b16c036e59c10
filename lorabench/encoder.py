"""A frozen language model for the search of ``sweeps``, which knows nothing of this package but what a config names."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lorabench import models
from lorabench.cache import cache_dir
from lorabench.errors import UserError
from lorabench.schema import ModelConfig


@dataclass(frozen=True)
class Frozen:
    """A decoder on the CPU, where a search's few short texts cost little.

    Args:
        model: a name of ``conf/model``, or OWNER/NAME@COMMIT of a model on the hub.
    """

    model: str

    def __call__(self) -> tuple[Any, Any, str, Path]:
        """Return decoder (float32), tokenizer, the weights' fingerprint and the folder for embeddings.

        Raises:
            UserError: no such model, or its weights are not at hand.
        """
        return *_read(self), cache_dir("embeddings")

    def check(self) -> None:
        """Raise UserError if there is no such model or its weights are not at hand; nothing is loaded."""
        spec = self.spec()
        models.check(spec)
        if spec.weights != "random":
            models.locate(spec)

    def spec(self) -> ModelConfig:
        """What ``model`` names."""
        from lorabench.__main__ import CONF

        folder = CONF / "model"
        file = folder / f"{self.model}.yaml"
        if file.is_file():
            spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(file)))
            assert isinstance(spec, ModelConfig)
            return spec
        hub, _, revision = str(self.model).partition("@")
        if "/" in hub and revision:
            return ModelConfig(name=hub, hub=hub, revision=revision)
        known = ", ".join(sorted(each.stem for each in folder.glob("*.yaml")))
        raise UserError(f"encoder {self.model} is none of {known}, nor OWNER/NAME@COMMIT")


@lru_cache(maxsize=1)
def _read(encoder: Frozen) -> tuple[Any, Any, str]:
    """Decoder, tokenizer and fingerprint, once for all searches of a process."""
    import torch

    spec = encoder.spec()
    base = models.read(spec, torch.device("cpu"), torch.float32)
    return base.model.get_decoder(), base.tokenizer, models.fingerprint(spec)
