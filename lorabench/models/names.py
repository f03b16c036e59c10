"""The name that a model goes by: that of its weights."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lorabench.errors import UserError
from lorabench.schema import CONF, ModelConfig

DEFAULT = "tiny"
"""The model of a command that names none."""

STATED = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
"""What of an architecture a name stands for; a vocabulary may grow, and positions be stretched."""


def named(model: dict[str, Any]) -> dict[str, Any]:
    """The config of a model whose weights come from elsewhere than the default's package, by their own name.

    A folder or a hub id given without ``model=NAME`` stands on the default's yaml, whose name, package and shape do not hold.

    >>> made = named({"name": "tiny", "package": "lorabench", "architecture": {"model_type": "llama"}, "path": "/models/mine"})
    >>> made["name"], made["package"], made["architecture"]
    ('mine', None, {})
    """
    path, hub = model.get("path"), model.get("hub")
    if model.get("name") != DEFAULT or not (path or hub) or model.get("weights") == "random":
        return model
    name = Path(path).expanduser().resolve().name if path else str(hub).rpartition("/")[2]
    return model | {"name": name, "package": None, "file": None, "architecture": {}}


def check_name(spec: ModelConfig, config: Any) -> None:
    """Check that a checkpoint is of the architecture for which its name stands.

    Args:
        spec: of the model. Where it gives a folder, its name may be the user's own, and what stands for it is the yaml of that
            name; else its own ``architecture``.
        config: transformers' of the checkpoint.

    Raises:
        UserError: it is another one.
    """
    yaml = CONF / "model" / f"{spec.name}.yaml"
    stated: Any = spec.architecture
    if spec.path:
        stated = OmegaConf.to_container(OmegaConf.load(yaml)) if yaml.is_file() else {}
        stated = stated.get("architecture")
    of_text = config.get_text_config()
    for key in STATED:
        present = config.model_type if key == "model_type" else getattr(of_text, key, None)
        if key in (stated or {}) and stated[key] != present:
            raise UserError(
                f"model={spec.name} has {key}={stated[key]}, but {spec.path or spec.hub or spec.package} holds a model with "
                f"{key}={present}; say what it is called, model.name=NAME, or give the folder of {spec.name}"
            )
