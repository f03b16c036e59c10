"""What the folder of a checkpoint holds, read without loading it; what cannot be loaded rightly is refused in one line."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, __version__

from lorabench.errors import UserError

TOKENIZER_FILES = (
    *("tokenizer*", "*.model", "*.tiktoken", "tekken.json", "vocab*", "merges*", "bpe*", "special_tokens_map.json"),
    *("added_tokens.json", "normalizer.json", "chat_template*", "chat_templates/*", "additional_chat_templates/*"),
)
"""Patterns of the files from which transformers makes a tokenizer and its chat template."""

VOCABULARIES = ("tokenizer.json", "*.model", "*.tiktoken", "tekken.json", "vocab*")
"""Of these a tokenizer needs one: without any, transformers makes an empty one."""

LFS = b"version https://git-lfs"  # first words of a pointer, see git-lfs' docs/spec.md
KINDS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
FLOATS = tuple(KINDS.values())
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of a file of weights; with ``.index.json``, of the index of several. The first that is there is taken."""

LARGEST_HEADER = 100_000_000  # bytes; what the safetensors library takes

Header = dict[str, tuple[str, tuple[int, ...]]]
"""Kind (``BF16``, say) and shape of each tensor of a safetensors file."""


def in_one_line(error: BaseException) -> str:
    """Kind and first words of an error of transformers, tokenizers or safetensors."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:240]


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a file of the checkpoint holds.

    Raises:
        UserError: it is a pointer of Git LFS, or holds something else.
    """
    _check_here(file)
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}); get it again, it may be truncated") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__} instead of an object; get it again")
    return content


def check_config(folder: Path) -> None:
    """Raise UserError unless ``config.json`` is of a plain model of a kind that transformers has."""
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} holds an adapter (adapter_config.json), which would be loaded into the base unseen; merge it first, by "
            f"PeftModel.from_pretrained(base, DIR).merge_and_unload().save_pretrained(NEW), and give NEW; or remove its files"
        )
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING:
        why = "needs code of its own (auto_map), which is not run here" if "auto_map" in config else "is of no kind that it has"
        raise UserError(f"{folder}: config.json has model_type={kind}, which transformers {__version__} lacks: the model {why}")
    for key in ("quantization_config", "compression_config"):
        if config.get(key):
            method = dict(config[key]).get("quant_method", "unnamed")
            raise UserError(f"{folder} is quantised ({key}: {method}); give the checkpoint of plain float weights")


def check_causal(config: Any, source: object) -> None:
    """Raise UserError unless a transformers config is of a decoder, each of whose tokens sees those before it alone."""
    text = config.get_text_config()
    if config.is_encoder_decoder:
        problem = "has an encoder and a decoder"
    elif type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        problem = "has no causal language model in transformers"
    elif type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        problem = "predicts masked tokens, not the next one"
    elif getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        problem = "attends in both directions"
    else:
        return
    raise UserError(f"{source}: model_type={config.model_type} {problem}; give a decoder such as llama, qwen3 or gemma3_text")


def check_files(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Check tokenizer and weights as far as their files' heads tell.

    Args:
        folder: of the checkpoint.
        shapes: of the model's parameters.

    Raises:
        UserError: no tokenizer, files that are pointers, truncated or not there, or weights that are quantised or of other
            shapes.
    """
    for file in tokenizer_files(folder):
        _check_here(file)
    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        raise UserError(f"{folder} holds no tokenizer (tokenizer.json, tokenizer.model or vocab.json); copy the model's there")
    for file in weight_files(folder):
        for name, (kind, shape) in (header_of(file) if file.suffix != ".json" else {}).items():
            if name in shapes and kind not in FLOATS:
                raise UserError(f"{file}: {name} is stored as {kind}, so quantised; give the checkpoint of plain float weights")
            if shape != shapes.get(name, shape):
                is_, should = (" x ".join(map(str, sizes)) for sizes in (shape, shapes[name]))
                raise UserError(f"{file}: {name} is {is_}, but config.json makes it {should}; they are of different models")


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that shape tokens, its chat template included."""
    return sorted({file for pattern in TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()})


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights, its index included.

    Raises:
        UserError: there are none, or not all that the index names.
    """
    for single in (folder / name for name in WEIGHTS):
        index = single.with_name(f"{single.name}.index.json")
        if single.is_file():
            return [single]
        if index.is_file():
            break
    else:
        held = sorted(file.name for pattern in ("*.safetensors", "*.bin", "*.pt*", "*.gguf") for file in folder.glob(pattern))
        held_text = f", only {', '.join(held[:3])}" if held else ""
        raise UserError(
            f"{folder} holds no model.safetensors{held_text}; load the checkpoint with transformers and save_pretrained it"
        )
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} has no weight_map; get it again")
    names = sorted(set(map(str, shards.values())))
    if lost := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"{folder} lacks {len(lost)} of the {len(names)} files that its index names, such as {lost[0]}")
    return [index, *(folder / name for name in names)]


def header_of(file: Path) -> Header:
    """Kind and shape of each tensor of a file of weights, a ``.bin`` read as tensors alone: no code that a pickle names is run.

    Raises:
        UserError: it is no such file, or holds what is no tensor.
    """
    if file.suffix == ".safetensors":
        return read_header(file)
    return {
        name: (KINDS.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape)) for name, tensor in tensors_of(file).items()
    }


def tensors_of(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.bin`` file, without their values in memory where the file lets that be.

    Raises:
        UserError: it cannot be read, or not without running code.
    """
    _check_here(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # torch and pickle raise many kinds
        raise UserError(
            f"{file} cannot be read as tensors alone ({in_one_line(error)}); get it again, or give it as safetensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{file} holds other things than tensors by name; give the checkpoint as save_pretrained writes it")
    return state


def read_header(file: Path) -> Header:
    """Read what stands at the head of a safetensors file.

    Raises:
        UserError: it is a pointer of Git LFS, no such file, or shorter than its head says.
    """
    _check_here(file)
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, LARGEST_HEADER):
            raise UserError(f"{file} ({size} bytes) is no whole safetensors file; get it again")
        try:
            entries = json.loads(stream.read(length))
            tensors = {name: entry for name, entry in entries.items() if name != "__metadata__"}
            end = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            header = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in tensors.items()}
        except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"{file} has a damaged head ({type(error).__name__}); get it again") from error
    if size != end:
        raise UserError(f"{file} has {size} bytes, where its head says {end}: truncated or damaged; get it again")
    return header


def end_ids(folder: Path) -> list[int]:
    """Ids of the tokens that end an answer, as ``generation_config.json`` states them, or else ``config.json``.

    Raises:
        UserError: they are no whole numbers from 0 on, or an empty list.
    """
    stated = None
    for name in ("generation_config.json", "config.json"):
        if stated is None and (folder / name).is_file():
            stated = read_json(folder / name).get("eos_token_id")
    ids = [] if stated is None else stated if isinstance(stated, list) else [stated]
    if stated == [] or not all(type(token) is int and token >= 0 for token in ids):  # true would count as 1
        raise UserError(
            f"{folder}: eos_token_id={json.dumps(stated)} in generation_config.json or config.json is no token's id, nor a "
            "list of some; give the ids that end an answer, or leave the key out for the tokenizer's own"
        )
    return sorted(set(ids))


def check_ends(folder: Path, rows: int) -> None:
    """Raise UserError unless each end token of a checkpoint is one of the ``rows`` that its model can give."""
    if (worst := max(end_ids(folder), default=0)) >= rows:
        raise UserError(
            f"{folder}: eos_token_id={worst} in generation_config.json or config.json ends no answer: the model has tokens "
            f"0 to {rows - 1}; give the ids that end one, or leave the key out for the tokenizer's own"
        )


def _check_here(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"{file} is not there; get the whole checkpoint")
    with file.open("rb") as stream:
        if stream.read(len(LFS)) == LFS:
            raise UserError(f"{file} is a pointer of Git LFS, not the file itself; run `git lfs pull` in that folder")
