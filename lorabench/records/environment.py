"""What a record must not hold: values of environment variables, which may be keys."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from lorabench.errors import UserError

ENV = "oc.env"
"""The resolver by which a config reads the environment, directly or behind other interpolations."""


def check_environment(cfg: DictConfig, unrecorded: Collection[str]) -> None:
    """Check that nothing that is recorded comes from an environment variable: it would be recorded as it is.

    Each value is resolved by itself, and whether that reads the environment is seen, whatever interpolations lead there.

    Args:
        cfg: composed, not yet resolved.
        unrecorded: top-level keys that no record has.

    Raises:
        UserError: a key does.
    """
    recorded = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(recorded, dict)
    with _reads() as variables:
        for key in _interpolated({key: value for key, value in recorded.items() if key not in unrecorded}):
            with contextlib.suppress(OmegaConfBaseException):  # whoever resolves the config meets the same
                _resolve(cfg, key)
            if variables:
                raise UserError(
                    f"{key} comes from an environment variable, whose value would stand in the record; write the value itself, "
                    "and give a key by the setting that names its variable (task.judge_key_env, HF_TOKEN)"
                )


@contextlib.contextmanager
def _reads() -> Iterator[list[str]]:
    """The environment variables that are read meanwhile."""
    variables: list[str] = []

    def env(key: str, *default: Any) -> Any:
        variables.append(key)
        return oc.env(key, *default)

    OmegaConf.register_new_resolver(ENV, env, replace=True)
    try:
        yield variables
    finally:
        OmegaConf.register_new_resolver(ENV, oc.env, replace=True)


def _resolve(cfg: DictConfig, key: str) -> None:
    value = OmegaConf.select(cfg, key)
    if OmegaConf.is_config(value):  # a whole node behind an interpolation
        OmegaConf.to_container(value, resolve=True)


def _interpolated(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of the texts of a tree that hold an interpolation."""
    if isinstance(node, str) and "${" in node:
        yield prefix
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from _interpolated(value, f"{prefix}.{key}" if prefix else str(key))
