"""What identifies a base model: everything of it that can change a result."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

from lorabench.files import file_hash
from lorabench.models.checkpoint import end_ids, tokenizer_files, weight_files
from lorabench.models.locate import locate
from lorabench.schema import ModelConfig

TOKENIZER_OF_RANDOM = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint")
"""The model whose tokenizer random weights use."""


def fingerprint(spec: ModelConfig) -> str:
    """What a model is: ``random:hash`` of shape and tokenizer, ``hub@revision``, or the SHA-256 of the local files.

    Of a folder these are the weights, ``config.json``, every file that shapes tokens, and the ids of ``generation_config.json``
    that end an answer; what else stands in that file is not used.

    Raises:
        UserError: no weights.
    """
    if spec.weights == "random":
        tokenizer = {file.name: file_hash(file) for file in tokenizer_files(locate(TOKENIZER_OF_RANDOM))}
        content = json.dumps([dict(spec.architecture), tokenizer], sort_keys=True)
        return "random:" + hashlib.sha256(content.encode()).hexdigest()
    if spec.hub and not spec.path:
        return f"{spec.hub}@{spec.revision}"
    source = locate(spec)
    if source.is_file():
        return "sha256:" + file_hash(source)
    files = [*weight_files(source), source / "config.json", *tokenizer_files(source)]
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        parts = [f"{file.relative_to(source)} {value}" for file, value in zip(files, pool.map(file_hash, files), strict=True)]
    parts.append(f"ends {end_ids(source)}")
    return "sha256:" + hashlib.sha256(" ".join(parts).encode()).hexdigest()


def fingerprint_of_schema_1(spec: ModelConfig) -> str:
    """The fingerprint in ids of schema 1, which saw fewer files."""
    if spec.weights == "random":
        return "random:" + hashlib.sha256(json.dumps(dict(spec.architecture), sort_keys=True).encode()).hexdigest()
    source = None if spec.hub and not spec.path else locate(spec)
    if source is None or source.is_file():
        return fingerprint(spec)
    named = [file for name in ("config.json", "tokenizer.json", "tokenizer.model") if (file := source / name).is_file()]
    files = [*sorted(source.glob("*.safetensors")), *named]
    return "sha256:" + hashlib.sha256(" ".join(f"{file.name} {file_hash(file)}" for file in files).encode()).hexdigest()
