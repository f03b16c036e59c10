"""A loaded base model, whose weights cells change in place and give back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorabench.errors import UserError
from lorabench.models.quantised import dequantised, quantised_layers
from lorabench.models.text import prompt_ids
from lorabench.schema import ModelConfig

LENGTH_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")  # in a model's config; those that lm-eval's HFLM asks for
DEFAULT_LENGTH = 2048  # lm-eval's own, where neither the model nor its tokenizer says

PART = 2**18
"""Values of a weight that ``bit_sum`` takes at once."""

FACTOR = 0x5851F42D4C957F2D
"""Of a sum when the next part is added: odd, and no small number."""


@dataclass
class Base:
    """A loaded base model. Cells change its weights in place; ``restore`` brings the pretrained bits back."""

    spec: ModelConfig
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    pristine: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """See the function of this name."""
        return max_length(self.model.config, self.tokenizer)

    @property
    def vocabulary(self) -> int:
        """Number of tokens that have an embedding."""
        return len(self.model.get_input_embeddings().weight)  # type: ignore[arg-type]

    @property
    def ends(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        return list(self.model.generation_config.eos_token_id)

    @property
    def state(self) -> dict[str, Any]:
        """What the record says of how the model runs: its attention, and the ids that start, end and fill a text."""
        tokens = {"bos": self.tokenizer.bos_token_id, "eos": self.ends, "pad": self.tokenizer.pad_token_id}
        quantised = {"quantization": self.spec.quantization} if self.spec.quantization else {}
        return {"attention": self.model.config._attn_implementation, "tokens": tokens} | quantised

    def weights(self) -> dict[str, torch.Tensor]:
        """The pretrained weights by name, as a plain checkpoint has them; quantised ones dequantised, in main memory."""
        plain = {f"{name}.weight": dequantised(layer).cpu() for name, layer in quantised_layers(self.model).items()}
        return {name: self.pristine.get(name, p) for name, p in self.model.named_parameters()} | plain

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, see ``models.text``.

        Raises:
            UserError: a token without an embedding.
        """
        ids = prompt_ids(self.tokenizer, texts)
        for tokens in ids:
            check_ids(tokens, self.tokenizer, self.vocabulary)
        return ids

    def remember(self, names: list[str]) -> None:
        """Keep a copy in main memory of these weights, taken before any cell touches them."""
        parameters = dict(self.model.named_parameters())
        for name in names:
            if name not in parameters:
                raise UserError(f"the model has no weight {name}, which the variant's touched() names")
            if name not in self.pristine:
                self.pristine[name] = parameters[name].detach().to("cpu", copy=True)

    def restore(self) -> None:
        """Copy every remembered weight back and freeze it: a variant may have trained it."""
        parameters = dict(self.model.named_parameters())
        for name, weight in self.pristine.items():
            if parameters[name].stride() != weight.stride():  # merging put another tensor there, whose products round otherwise
                parameters[name].data = torch.empty_like(weight, device=parameters[name].device)
        self.assign(self.pristine)
        for name in self.pristine:
            parameters[name].requires_grad_(False).grad = None

    def assign(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy ``weights`` (names as in ``model.named_parameters``) into the model."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)


def check_ids(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
    """Raise UserError unless each token of a text has one of the model's ``vocabulary`` embeddings."""
    if max(ids, default=0) >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(max(ids))
        raise UserError(
            f"a text holds the token {token!r}, id {max(ids)}, which {tokenizer.name_or_path} adds to its tokenizer alone: "
            f"the model has embeddings for {vocabulary} ids; leave it out of the text, or give a model that has it"
        )


def stated_length(config: Any) -> int | None:
    """Tokens that a model takes by its config; None where it states none."""
    of_text = config.get_text_config()
    return next((int(getattr(of_text, key)) for key in LENGTH_KEYS if getattr(of_text, key, None)), None)


def max_length(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that a model takes: what its config states, or else its tokenizer, or else lm-eval's default."""
    of_tokenizer = tokenizer.model_max_length
    return stated_length(config) or int(of_tokenizer if of_tokenizer < 1e9 else DEFAULT_LENGTH)


def bit_sum(weight: torch.Tensor) -> int:
    """Σ_c P^(C−c) Σ_j w_j b_cj modulo 2^64, of a weight's bits b as whole numbers, C parts c of at most ``PART`` positions j.

    The w_j are odd, drawn once, and P is odd. So a single value that changes always gives another sum; several, also if they
    only change places, all but surely: by chance one in 2^32 or less gives the same sum. Memory: that of one part in int64.
    """
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int32}[weight.element_size()]
    total = torch.zeros((), dtype=torch.int64, device=weight.device)
    for part in weight.detach().reshape(-1).view(whole).split(PART):
        total = total * FACTOR + (part * _factors(weight.device)[: len(part)]).sum()
    return int(total)


@cache
def _factors(device: torch.device) -> torch.Tensor:
    """The w_j of ``bit_sum`` [PART]: without order, so that no exchange of rows or columns leaves a sum as it is."""
    drawn = torch.randint(-(2**63), 2**63 - 1, (PART,), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    return (drawn | 1).to(device)
