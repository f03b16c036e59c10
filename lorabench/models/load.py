"""Loading a base model, frozen, in the precision that paper 1 describes (docs/papers.md)."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from lorabench.models import attention
from lorabench.models.base import Base
from lorabench.models.gguf import convert
from lorabench.models.locate import locate
from lorabench.models.shapes import architecture_config, in_float32
from lorabench.schema import ModelConfig

TOKENIZER_OF_RANDOM = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint")


def load(spec: ModelConfig, device: torch.device, dtype: torch.dtype) -> Base:
    """Load a base model, frozen and in evaluation mode; ``cells.session`` keeps it for the next cell of the process."""
    logging.disable_progress_bar()  # one line a sweep tells more than a bar a file
    kernel = attention.register() if device.type == "cpu" else "sdpa"
    if spec.weights == "random":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(architecture_config(spec), dtype=dtype, attn_implementation=kernel)
        tokenizer = AutoTokenizer.from_pretrained(locate(TOKENIZER_OF_RANDOM))
    else:
        source = locate(spec)
        if source.is_file():
            source = convert(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation=kernel)
        tokenizer = AutoTokenizer.from_pretrained(source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if dtype == torch.bfloat16:  # as PiSSA's training code asks for, before DeepSpeed casts all to bfloat16
        for name, module in model.named_modules():
            if in_float32(name):
                module.float()
    model.to(device).eval().requires_grad_(False)
    model.config.use_cache = True
    return Base(spec, model, tokenizer, device)
