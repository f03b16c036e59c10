"""PEFT's methods by their types: which there are, what each takes, and what the ones that cannot run here lack."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from lorabench.annotations import check_fields
from lorabench.errors import UserError, nearest

LACKS = {
    "ADALORA": "its ranks follow the steps of a run, which variant=adalora plans",
    "CPT": "its virtual tokens are those of labelled examples, which a task's texts do not mark",
    "MULTITASK_PROMPT_TUNING": "its prompts are told apart by a task id with each example",
    "POLY": "its routing takes a task id with each example",
    "PVERA": "it draws noise in each forward pass",
    "SHADOW": "it trains a second model beside the base, with a loss of its own",
    "XLORA": "it mixes adapters that were trained before",
}
"""Types that cannot be trained here, with the reason."""

DEFAULTS: dict[str, dict[str, Any]] = {
    # Liu et al. 2022 (arXiv 2205.05638): keys, values, and the input of the last feed-forward matrix
    "IA3": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    # Zhao et al. 2023 (arXiv 2312.11420): every norm
    "LN_TUNING": {"target_modules": ["input_layernorm", "post_attention_layernorm", "norm"]},
    "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"]},
}
"""Settings of a type that stand in the place of those of all variants."""

NOT_MERGED = ("ADAPTION_PROMPT", "BEFT", "CARTRIDGE", "LILY", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
"""Types whose update is no plain weights, or that PEFT does not merge; BEFT adds biases, which few models have."""

NO_TARGETS = ("ADAPTION_PROMPT",)
"""Types whose ``target_modules`` are whole blocks: PEFT's own choice is right."""

OWN_SIZE = ("OFT", "TINYLORA")
"""Types whose ``r`` is no rank of an update: the number of blocks of a rotation, the rank of a frozen decomposition."""

ALPHAS = ("lora_alpha", "alpha", "psoft_alpha")
"""Fields that are the numerator of LoRA's scale."""

OTHER_DROPOUTS = ("module_dropout", "rank_dropout")
"""Fields that drop whole layers or ranks, and no inputs."""

NOT_HERE = ("modules_to_save", "trainable_token_indices", "layer_replication", "lora_bias", "alora_invocation_tokens", "bias")
"""Fields that train or rebuild parts of the base beside the adapted modules, which no merged adapter holds."""

DRAWN_STARTS = (True, False, "gaussian", "orthogonal")
"""Values of ``init_lora_weights`` that need neither data nor the weights."""

AS_WRITTEN = "an adapter_config.json as PEFT writes it"


def known(name: str | None) -> PeftType:
    """A type by its name.

    Raises:
        UserError: none of the installed PEFT's.
    """
    names = [kind.value for kind in PeftType]
    if name not in names:
        wrong = "variant.peft_type is missing" if not name else f"variant.peft_type={name} is none of PEFT's"
        raise UserError(f"{wrong}; {nearest(str(name or '').upper(), names)}")
    return PeftType(name)


def stated(config: Mapping[str, Any] | str) -> dict[str, Any]:
    """The settings of ``variant.config``: as they stand there, or of a file as PEFT writes it, without what is empty in it.

    Raises:
        UserError: a file that cannot be read, or is no configuration.
    """
    if not isinstance(config, str):
        return dict(config)
    file = Path(config).expanduser()
    if file.is_dir():  # as PEFT saves an adapter
        file /= "adapter_config.json"
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"variant.config={config} cannot be read ({error}); give {AS_WRITTEN}") from error
    if not isinstance(content, dict) or not isinstance(content.get("peft_type"), str):
        raise UserError(f"variant.config={config} has no peft_type; give {AS_WRITTEN}")
    ours = {field.name for field in dataclasses.fields(PeftConfig)} - {"peft_type"}
    return {key: value for key, value in content.items() if value is not None and key not in ours}


def type_of(peft_type: str | None, config: Mapping[str, Any] | str) -> PeftType:
    """The type that is asked for, by name or in a file.

    Raises:
        UserError: an unknown one, or two.
    """
    inside = stated(config).get("peft_type")
    if peft_type and inside and inside != peft_type:
        raise UserError(f"variant.peft_type={peft_type}, and variant.config={config} is of {inside}; leave one of them out")
    return known(peft_type or inside)


def common_name(key: str, kind: PeftType) -> str | None:
    """Where a field of a type is set that all variants have; None of its own."""
    if key == "r":
        return None if kind.value in OWN_SIZE else "rank"
    if key in ALPHAS:
        return "variant.alpha"
    if key.endswith("_dropout") and key not in OTHER_DROPOUTS:
        return "variant.dropout"
    return "variant.target_modules" if key == "target_modules" else None


def fields_of(kind: PeftType) -> set[str]:
    """Names of the settings of a type."""
    return {field.name for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind])}


def make(kind: PeftType, given: Mapping[str, Any], common: Mapping[str, Any]) -> PeftConfig:
    """The configuration of a type from what is given, what it takes of the settings that all variants have, and its defaults.

    Raises:
        UserError: a key that the type does not have, or values that it refuses.
    """
    names = fields_of(kind)
    for key, value in given.items():
        if key not in names:
            raise UserError(f"variant.config.{key}: {kind.value} has no such setting; {nearest(key, names)}")
        if key in NOT_HERE and value not in (None, False, "none"):
            raise UserError(f"variant.config.{key}={value} changes more than the adapted modules; leave it out")
    if (start := given.get("init_lora_weights", True)) not in DRAWN_STARTS:
        raise UserError(f"variant.config.init_lora_weights={start} starts from data or weights; such are variants of their own")
    if "num_virtual_tokens" in names and not given.get("num_virtual_tokens"):
        raise UserError(f"{kind.value} needs the length of its prompt: +variant.config.num_virtual_tokens=20")
    check_fields(dict(given), PEFT_TYPE_TO_CONFIG_MAPPING[kind], "variant.config.")
    chosen = {key: value for key, value in common.items() if key in names} | DEFAULTS.get(kind.value, {}) | dict(given)
    try:
        return PEFT_TYPE_TO_CONFIG_MAPPING[kind](**chosen | {"task_type": "CAUSAL_LM"})
    except Exception as error:  # each type checks its own values
        raise UserError(f"variant.config: {kind.value} refuses it ({first_sentence(error)})") from error


def first_sentence(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()).partition(". ")[0][:200] or type(error).__name__
