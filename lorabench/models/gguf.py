"""Plain checkpoints from GGUF files, converted once into the cache."""

import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lorabench.files import cache_dir, file_hash


def convert(file: Path) -> Path:
    """Return a folder with the dequantised float32 checkpoint and tokenizer of a GGUF file, made on the first call."""
    folder = cache_dir("models") / file_hash(file)[:16]
    if folder.exists():
        return folder
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
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
