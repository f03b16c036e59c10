"""A frozen language model for the search of ``sweeps``, which knows nothing of this package but what a config names."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lorabench import models
from lorabench.cache import cache_dir
from lorabench.errors import UserError
from lorabench.schema import ModelConfig


def load(model: str, device: str = "cpu") -> tuple[Any, Any, str, Path]:
    """Return decoder (float32), tokenizer, the weights' fingerprint and the folder for embeddings.

    Args:
        model: a name of ``conf/model``, or OWNER/NAME@COMMIT of a model on the hub.
        device: where it runs.

    Raises:
        UserError: no such model, or its weights are not at hand.
    """
    from lorabench.__main__ import CONF

    file = CONF / "model" / f"{model}.yaml"
    if file.is_file():
        spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(file)))
    elif "/" in model and "@" in model:
        hub, _, revision = model.partition("@")
        spec = ModelConfig(name=hub, hub=hub, revision=revision)
    else:
        known = ", ".join(sorted(each.stem for each in file.parent.glob("*.yaml")))
        raise UserError(f"encoder {model} is none of {known}, nor OWNER/NAME@COMMIT")
    assert isinstance(spec, ModelConfig)
    place = models.resolve_device(device)
    base = models.read(spec, place, models.resolve_dtype("float32", place))
    return base.model.get_decoder(), base.tokenizer, models.fingerprint(spec), cache_dir("embeddings")
