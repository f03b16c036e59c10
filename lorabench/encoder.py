"""A frozen language model for the search of ``sweeps``, which knows nothing of this package but what a config names."""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from lorabench import models
from lorabench.cache import cache_dir
from lorabench.errors import UserError
from lorabench.schema import ModelConfig


@dataclass(frozen=True)
class Frozen:
    """A model on the CPU, where a search's few short texts cost little.

    Args:
        model: a name of ``conf/model`` or ``conf/hydra/encoder``, or OWNER/NAME@COMMIT of a model on the hub.
    """

    model: str

    @property
    def causal(self) -> bool:
        """Whether its tokens see only those before them, as a decoder's do; by its config, no weight is loaded.

        Raises:
            UserError: no such model, it is not at hand, or it has an encoder and a decoder.
        """
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

        with _told_of_the_encoder():
            config = models.architecture_config(self.spec())
        if config.is_encoder_decoder:
            raise UserError(f"encoder {self.model} is an encoder and a decoder ({config.model_type}); one of the two is needed")
        masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)  # BERT can be either
        return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not masked

    def __call__(self) -> tuple[Any, Any, str, int, Path]:
        """Return model, tokenizer, the weights' fingerprint, the most tokens it reads, and a folder for embeddings.

        The model is in float32; of a causal one it is the decoder, without the output layer.

        Raises:
            UserError: no such model, or its weights are not at hand.
        """
        return *_read(self), cache_dir("embeddings")

    def spec(self) -> ModelConfig:
        """What ``model`` names."""
        from lorabench.__main__ import CONF

        folders = CONF / "model", CONF / "hydra" / "encoder"  # below hydra/, so that --help lists no group that no cell has
        decoder, packaged = (folder / f"{self.model}.yaml" for folder in folders)
        if decoder.is_file():
            spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(decoder)))
            assert isinstance(spec, ModelConfig)
            return spec
        if packaged.is_file():
            return _packaged(**yaml.safe_load(packaged.read_text()))
        hub, _, revision = str(self.model).partition("@")
        if "/" in hub and revision:
            return ModelConfig(name=hub, hub=hub, revision=revision)
        known = ", ".join(sorted(each.stem for folder in folders for each in folder.glob("*.yaml")))
        raise UserError(f"encoder {self.model} is none of {known}, nor OWNER/NAME@COMMIT")


@contextlib.contextmanager
def _told_of_the_encoder() -> Iterator[None]:
    """Errors of ``models`` advise keys of the model that is trained."""
    try:
        yield
    except UserError as error:
        line = str(error).partition(", or give model.path")[0]
        raise UserError(line if line.startswith("encoder") else f"encoder: {line}") from error


@lru_cache(maxsize=1)
def _read(encoder: Frozen) -> tuple[Any, Any, str, int]:
    """Model, tokenizer, fingerprint and limit, once for all searches of a process."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    spec = encoder.spec()
    causal = encoder.causal
    with _told_of_the_encoder():
        models.check(spec)
        if spec.weights != "random":
            models.locate(spec)
    if causal:
        base = models.read(spec, torch.device("cpu"), torch.float32)
        model, tokenizer = base.model.get_decoder(), base.tokenizer
    else:
        logging.disable_progress_bar()  # as in models.read
        source = models.locate(spec)
        model = AutoModel.from_pretrained(source, dtype=torch.float32, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    limit = min(models.max_length(model.config, tokenizer), tokenizer.model_max_length)  # RoBERTa counts two positions more
    return model, tokenizer, models.fingerprint(spec), limit


def _packaged(name: str, package: str, folder: str, install: str) -> ModelConfig:
    """The checkpoint that an installed Python package carries."""
    found = importlib.util.find_spec(package)
    for root in (found.submodule_search_locations or []) if found else []:
        if (Path(root) / folder / "config.json").is_file():
            return ModelConfig(name=name, path=str(Path(root) / folder))
    raise UserError(f"encoder {name}: no Python package '{package}' that carries its weights is installed; run `{install}`")
