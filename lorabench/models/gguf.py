"""Plain checkpoints from GGUF files, converted once into the cache."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lorabench.errors import UserError
from lorabench.files import cache_dir, file_hash
from lorabench.models.checkpoint import in_one_line
from lorabench.models.locate import locate
from lorabench.schema import ModelConfig


def folder_of(spec: ModelConfig) -> Path:
    """The folder of a model's checkpoint, converted where it lies in a GGUF file.

    Raises:
        UserError: the weights are not there, or the file cannot be read.
    """
    source = locate(spec)
    return convert(source) if source.is_file() else source


def convert(file: Path) -> Path:
    """Return a folder with the dequantised float32 checkpoint and tokenizer of a GGUF file, made on the first call.

    Raises:
        UserError: transformers cannot read it, or it lacks weights.
    """
    folder = cache_dir("models") / file_hash(file)[:16]
    if folder.exists():
        return folder
    try:
        loading: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    except Exception as error:  # of gguf, transformers and tokenizers
        raise UserError(f"{file} cannot be read as GGUF ({in_one_line(error)}); get it again") from error
    loaded, report = loading
    if lost := sorted(report["missing_keys"]):
        raise UserError(f"{file} lacks {len(lost)} of the model's weights, such as {lost[0]}; get it again")
    # A model loaded from GGUF refuses save_pretrained; the same weights in a plain model do not.
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    if hasattr(plain.config, "quantization_config"):
        del plain.config.quantization_config
    plain.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    try:
        os.rename(scratch, folder)  # atomic: another process sees a whole folder or none
    except OSError:
        shutil.rmtree(scratch)  # another process was first
    return folder
