"""A frozen language model for the search of ``sweeps``, which knows nothing of this package but what a config names."""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, AutoModel, AutoTokenizer
from transformers.utils import logging

from lorabench.cells.session import current
from lorabench.errors import UserError
from lorabench.files import cache_dir
from lorabench.models.base import max_length
from lorabench.models.fingerprint import fingerprint
from lorabench.models.load import load
from lorabench.models.locate import check, locate
from lorabench.models.shapes import architecture_config
from lorabench.schema import CONF, ModelConfig


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
        with _naming_the_encoder():
            config = architecture_config(self.spec())
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
        reading = current().kept(f"encoder {self.model}", lambda: _read(self))
        return *reading, cache_dir("embeddings")

    def spec(self) -> ModelConfig:
        """What ``model`` names."""
        folders = CONF / "model", CONF / "hydra" / "encoder"  # below hydra/, so that --help lists no group that no cell has
        decoder, packaged = (folder / f"{self.model}.yaml" for folder in folders)
        if decoder.is_file():
            spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(decoder)))
            assert isinstance(spec, ModelConfig)
            return spec
        if packaged.is_file():
            return _packaged_spec(**yaml.safe_load(packaged.read_text()))
        hub, _, revision = str(self.model).partition("@")
        if "/" in hub and revision:
            return ModelConfig(name=hub, hub=hub, revision=revision)
        names = ", ".join(sorted(file.stem for folder in folders for file in folder.glob("*.yaml")))
        raise UserError(f"encoder {self.model} is none of {names}, nor OWNER/NAME@COMMIT")


@contextlib.contextmanager
def _naming_the_encoder() -> Iterator[None]:
    """Errors of ``models`` advise keys of the model that is trained."""
    try:
        yield
    except UserError as error:
        line = str(error).partition(", or give model.path")[0]
        raise UserError(line if line.startswith("encoder") else f"encoder: {line}") from error


def _read(encoder: Frozen) -> tuple[Any, Any, str, int]:
    """Model, tokenizer, fingerprint and limit."""
    spec = encoder.spec()
    causal = encoder.causal
    with _naming_the_encoder():
        check(spec)
        if spec.weights != "random":
            locate(spec)
    if causal:
        base = load(spec, torch.device("cpu"), torch.float32)
        model, tokenizer = base.model.get_decoder(), base.tokenizer
    else:
        logging.disable_progress_bar()  # as in models.load
        source = locate(spec)
        model = AutoModel.from_pretrained(source, dtype=torch.float32, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    limit = min(max_length(model.config, tokenizer), tokenizer.model_max_length)  # RoBERTa counts two positions more
    return model, tokenizer, fingerprint(spec), limit


def _packaged_spec(name: str, package: str, folder: str, install: str) -> ModelConfig:
    """The checkpoint that an installed Python package carries."""
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (Path(root) / folder / "config.json").is_file():
            return ModelConfig(name=name, path=str(Path(root) / folder))
    raise UserError(f"encoder {name}: no Python package '{package}' that carries its weights is installed; run `{install}`")
