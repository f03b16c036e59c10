"""The tables and the methods that there are, each one a yaml, and a method's settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.errors import SweepError

TABLES = Path(__file__).parent / "tables"
ROOT = Path(__file__).resolve().parents[2]
CONF = next(folder for folder in (ROOT / "conf", ROOT / "lorabench" / "conf") if folder.is_dir())  # a checkout, or installed
SWEEPERS = CONF / "hydra" / "sweeper"


def tables() -> list[str]:
    """The tables there are."""
    return sorted(file.stem for file in TABLES.glob("*.yaml"))


def methods() -> list[str]:
    """The methods there are: every yaml of ``conf/hydra/sweeper`` that names one."""
    by_name = {file.stem: yaml.safe_load(file.read_text()).get("method") for file in SWEEPERS.glob("*.yaml")}
    return sorted(name for name, method in by_name.items() if isinstance(method, dict))


def method_config(name: str, changes: Sequence[str] = (), text: str | None = None) -> dict[str, Any]:
    """What a replay needs of the yaml of a method, over what all methods share: ``name``, ``initial``, ``design``, ``method``.

    >>> method_config("tpe", ["initial=3"])["method"]
    {'_target_': 'sweeps.search.tpe.TPE', '_partial_': True, 'initial': 3}

    Args:
        name: of the method.
        changes: such as ``method.token=false``.
        text: the explanations, for a method that reads them.

    Raises:
        SweepError: no such method, or a change of what it does not have.
    """
    if name not in methods():
        raise SweepError(f"there is no method {name}; available: {', '.join(methods())}")
    parts = [OmegaConf.load(SWEEPERS / f"{stem}.yaml") for stem in ("search", name)]
    whole: Any = OmegaConf.merge(*parts)
    merged: Any = OmegaConf.masked_copy(whole, ["name", "initial", "design", "method"])
    if text is not None and "text" in merged.method:
        merged.method.text = text
    OmegaConf.set_struct(merged, True)
    for change in changes:
        try:
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([change]))
        except OmegaConfBaseException as error:
            keys = ", ".join(["initial", "design", *(f"method.{key}" for key in merged.method if not str(key).startswith("_"))])
            raise SweepError(f"{change} changes nothing of {name}; what there is: {keys}") from error
    config: Any = OmegaConf.to_container(merged, resolve=True)
    return config
