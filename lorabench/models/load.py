"""Loading a base model, frozen, in the precision that paper 1 describes (docs/papers.md)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from lorabench.errors import UserError
from lorabench.models import attention
from lorabench.models.base import Base, max_length
from lorabench.models.checkpoint import check_causal, check_ends, check_files, end_ids, in_one_line, weight_files
from lorabench.models.fingerprint import TOKENIZER_OF_RANDOM
from lorabench.models.gguf import folder_of
from lorabench.models.locate import locate
from lorabench.models.names import check_name
from lorabench.models.quantised import check_layers, quantise
from lorabench.models.shapes import architecture_config, folder_config, in_float32, skeleton
from lorabench.models.text import prompt_ids
from lorabench.models.weights import check_finite, check_tied
from lorabench.schema import ModelConfig

QUANTISED = ("qweight", "qzeros", "scales", "weight_scale", "weight_scale_inv", "absmax", "SCB", "quant_map")
"""Last parts of the names under which quantised weights carry their scales: GPTQ, AWQ, fp8, bitsandbytes."""


def check_checkpoint(spec: ModelConfig) -> Path:
    """The folder of a model's weights, after all that its files tell without being loaded.

    Raises:
        UserError: they are not there, of another architecture than the model's name stands for, or cannot be loaded rightly.
    """
    folder = folder_of(spec)
    config = folder_config(folder)
    check_causal(config, folder)
    check_name(spec, config)
    model = skeleton(spec)
    check_files(folder, {name: tuple(p.shape) for name, p in model.named_parameters()})
    check_ends(folder, len(model.get_input_embeddings().weight))
    return folder


def tokenizer_and_length(spec: ModelConfig) -> tuple[Any, int]:
    """A model's tokenizer and how many tokens the model takes, without its weights.

    Raises:
        UserError: the files are not there, or cannot be used.
    """
    if spec.weights == "random":
        tokenizer, config = _tokenizer(locate(TOKENIZER_OF_RANDOM)), architecture_config(spec)
    else:
        folder = folder_of(spec)
        tokenizer, config = _tokenizer(folder), folder_config(folder)
    return tokenizer, max_length(config, tokenizer)


def load(spec: ModelConfig, device: torch.device, dtype: torch.dtype) -> Base:
    """Load a base model, frozen and in evaluation mode; ``cells.session`` keeps it for the next cell of the process.

    Nothing of its generation config is kept but the ids of tokens: decoding is greedy and by the model's own logits.

    Raises:
        UserError: what it lacks, or why it does not work, tried on two tokens.
    """
    logging.disable_progress_bar()  # one line a sweep tells more than a bar a file
    source, ends = locate(TOKENIZER_OF_RANDOM), []
    if spec.weights == "random":
        config = architecture_config(spec)
        check_causal(config, f"model={spec.name}")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            kernel = attention.choose(config, device)
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=kernel, trust_remote_code=False)
    else:
        source = check_checkpoint(spec)
        ends = end_ids(source)
        model = _weights(source, dtype, attention.choose(folder_config(source), device))
    tokenizer = _tokenizer(source)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted({tokenizer.eos_token_id, *ends}),
        pad_token_id=tokenizer.pad_token_id,
    )
    if dtype == torch.bfloat16:
        for name, module in model.named_modules():
            if in_float32(name) and not (spec.quantization and isinstance(module, torch.nn.Linear)):
                module.float()
    if spec.quantization:
        check_layers(model, spec.name)
        quantise(model, spec.quantization, device, dtype)
    model.to(device).eval().requires_grad_(False)
    model.config.use_cache = True
    base = Base(spec, model, tokenizer, device)
    _check_tokens(base, source)
    _try(base, source)
    return base


def _weights(source: Path, dtype: torch.dtype, kernel: str) -> Any:
    """The model with all of its weights from the checkpoint, and nothing else."""
    with _of(source, "cannot be loaded"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            attn_implementation=kernel,
            use_safetensors=weight_files(source)[-1].suffix == ".safetensors",
            weights_only=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    model, report = loaded
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    if problem := _problem(missing, unexpected):
        raise UserError(
            f"{source}: {problem}; nothing is drawn at random in their place: give the whole checkpoint of this model"
        )
    check_tied(model, source)
    check_finite(model, source)
    return model


def _problem(missing: list[str], unexpected: list[str]) -> str | None:
    """What is wrong with the names of a checkpoint's weights, given those that it lacks and those that the model lacks."""
    if not missing and not unexpected:
        return None
    lacks = f"{len(missing)} of the model's weights are missing, such as {missing[0]}" if missing else ""
    has = f"{len(unexpected)} are none of its own, such as {unexpected[0]}" if unexpected else ""
    prefix = unexpected[0].partition(".")[0] if unexpected else ""
    if unexpected and any(name.rpartition(".")[2] in QUANTISED for name in unexpected):
        has += " (scales of quantised weights)"
    elif missing and prefix and {name.removeprefix(f"{prefix}.") for name in unexpected} & set(missing):
        has += f" (all begin with {prefix}., which the model's names do not)"
    elif unexpected and len(unexpected) <= 2 and not any(".layers." in name or ".h." in name for name in unexpected):
        has += " (a checkpoint with another head)"
    return ", and ".join(filter(None, (lacks, has)))


def _tokenizer(source: Path) -> Any:
    with _of(source, "has a tokenizer that cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{source}: its tokenizer has no end token, with which answers end; set eos_token in tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _check_tokens(base: Base, source: Path) -> None:
    """Raise UserError unless the model has an embedding for every ordinary token, and for those that stand in every text.

    Of tokens that were added some may lack it, as in Gemma 3, whose texts never hold a picture; see ``Base.check_ids``.
    """
    tokenizer, rows = base.tokenizer, base.vocabulary
    added = set(tokenizer.get_added_vocab().values())
    highest = max((token for token in tokenizer.get_vocab().values() if token not in added), default=0)
    framing = [tokenizer.eos_token_id, tokenizer.pad_token_id, *prompt_ids(tokenizer, ["a"])[0]]
    if (worst := max(highest, *framing)) >= rows:
        token = tokenizer.convert_ids_to_tokens(worst)
        raise UserError(
            f"{source}: its tokenizer has the token {token!r} with id {worst}, but the model has embeddings for {rows} ids; "
            "give the tokenizer of this model"
        )


def _try(base: Base, source: Path) -> None:
    """Raise UserError unless the model gives finite logits for two tokens."""
    ids = torch.tensor([(prompt_ids(base.tokenizer, ["One, two"])[0] * 2)[:2]], device=base.device)
    half = base.model.dtype == torch.bfloat16
    with (
        _of(source, "fails on two tokens"),
        torch.inference_mode(),
        torch.autocast(base.device.type, dtype=torch.bfloat16, enabled=half),
    ):
        finite = bool(base.model(input_ids=ids, use_cache=False).logits.isfinite().all())
    if not finite:
        raise UserError(
            f"{source}: the model's logits for two tokens are not finite; its weights are damaged, or need another dtype"
        )


@contextlib.contextmanager
def _of(source: Path, what: str) -> Iterator[None]:
    """Turn the errors of transformers, tokenizers and safetensors into one line; lack of memory is not of the checkpoint."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each library raises kinds of its own
        raise UserError(f"{source} {what} ({in_one_line(error)})") from error
