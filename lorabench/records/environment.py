"""What a record must not hold: values of environment variables, which may be keys."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lorabench.errors import UserError

READS = re.compile(r"\$\{\s*oc\.(env|decode)\s*:")
"""An interpolation whose value is the environment's, or may be."""


def check_environment(cfg: DictConfig, unrecorded: Collection[str]) -> None:
    """Check that nothing that is recorded comes from an environment variable: it would be recorded as it is.

    Args:
        cfg: composed, not yet resolved.
        unrecorded: top-level keys that no record has.

    Raises:
        UserError: a key does.
    """
    texts = dict(_texts(OmegaConf.to_container(cfg, resolve=False)))
    hidden = {key.partition(".")[0] for key, text in texts.items() if READS.search(text)} & set(unrecorded)
    through = re.compile(rf"\$\{{\s*({'|'.join(map(re.escape, sorted(hidden)))})\b") if hidden else READS
    for key, text in texts.items():
        if key.partition(".")[0] not in unrecorded and (READS.search(text) or through.search(text)):
            raise UserError(
                f"{key} comes from an environment variable, whose value would stand in the record; write the value itself, and "
                "give a key by the setting that names its variable (task.judge_key_env, HF_TOKEN)"
            )


def _texts(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The texts of a tree by their dotted keys."""
    if isinstance(node, str):
        yield prefix, node
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from _texts(value, f"{prefix}.{key}" if prefix else str(key))
