"""From overrides to values and configs, by Hydra's own parser and loader."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from sweeps.errors import SweepError


class Composition:
    """What a command's overrides mean.

    Args:
        loader: Hydra's.
        job_config: the command's config; a cell's differs by its overrides.
    """

    def __init__(self, loader: ConfigLoader, job_config: DictConfig) -> None:
        self._loader, self._job_config = loader, job_config
        self._parser = OverridesParser.create(config_loader=loader)
        self._is_group = cache(lambda key: bool(loader.get_group_options(key)))

    def has(self, key: str) -> bool:
        """Whether the config has a value under a dotted key."""
        return OmegaConf.select(self._job_config, key) is not None

    def values(self, value: Any) -> str:
        """Swept values as they stand in an override: a text is in Hydra's syntax, a list has one value in each item."""
        if isinstance(value, Sequence) and not isinstance(value, str):  # OmegaConf's lists are no list
            return ",".join(map(self._element, value))
        return value if isinstance(value, str) else self._element(value)

    def _element(self, value: Any) -> str:
        """One value in Hydra's grammar; a text that it would take apart, or could not read, gets quotes."""
        if isinstance(value, str):
            return value if self._is_element(value) else QuotedString(value, Quote.double).with_quotes()
        if isinstance(value, Mapping):
            return f"{{{','.join(f'{key}:{self._element(item)}' for key, item in value.items())}}}"
        if isinstance(value, Sequence):
            return f"[{','.join(map(self._element, value))}]"
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    def _is_element(self, text: str) -> bool:
        try:
            return bool(text) and not self._parser.parse_override(f"key={text}").is_sweep_override()
        except HydraException:
            return False

    def axes(self, overrides: Sequence[str], kind: str) -> dict[str, list[str]]:
        """The values of every key that is overridden, as they stand in an override; of two overrides, the last wins.

        Args:
            overrides: in Hydra's sweep syntax.
            kind: of sweeper, for messages.

        Raises:
            SweepError: a key without values.
            HydraException: an interval, or what is no override.
        """
        axes: dict[str, list[str]] = {}
        for override in self._parser.parse_overrides(list(overrides)):
            key = override.get_key_element()
            if not override.is_sweep_override():
                if not override.get_value_element_as_str():
                    raise SweepError(f"{key} has no values to choose from")
                axes[key] = [override.get_value_element_as_str()]
            elif override.is_discrete_sweep():
                axes[key] = [str(value) for value in override.sweep_string_iterator()]
                if not axes[key]:
                    raise SweepError(f"{key} has no values to choose from: {override.input_line}")
            else:
                raise HydraException(f"{key}: {kind} needs a list of values, not an interval; write {key}=1e-4,1e-3")
        return axes

    def configs(self, cells: Sequence[Sequence[str]]) -> list[DictConfig]:
        """The config of every cell, given by its overrides, without the ``hydra`` node.

        Hydra composes in some 50 ms, so cells that differ only in plain values share one composition, and the values are
        set on copies of it. Of a large grid, ``resolved.Resolved`` has the same configs at less cost.
        """
        composed: dict[tuple[str, ...], DictConfig] = {}
        configs = []
        for cell in cells:
            overrides = list(zip(cell, self._parser.parse_overrides(list(cell)), strict=True))
            values = [override for _, override in overrides if self.sets_value(override)]
            rest = tuple(text for text, override in overrides if not self.sets_value(override))
            if rest not in composed:
                composed[rest] = self.whole(rest)
            configs.append(with_values(composed[rest], values))
        return configs

    def parsed(self, texts: Iterable[str]) -> dict[str, Override]:
        """The overrides by their texts."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self._parser.parse_overrides(distinct), strict=True))

    def sets_value(self, override: Override) -> bool:
        """Whether an override sets a value where one is, and chooses no config of a group."""
        return override.type == OverrideType.CHANGE and not self._is_group(override.key_or_group)

    def whole(self, overrides: Sequence[str]) -> DictConfig:
        """A config as Hydra composes it, without the ``hydra`` node."""
        whole = self._loader.load_sweep_config(self._job_config, list(overrides))
        with read_write(whole), open_dict(whole):
            del whole["hydra"]
        return whole


def with_values(config: DictConfig, values: Iterable[Override]) -> DictConfig:
    """A copy of a config with these values set."""
    changed = copy.deepcopy(config)
    for override in values:
        set_value(changed, override)
    return changed


def set_value(config: DictConfig, override: Override) -> None:
    """Set a value in a config; Hydra's own settings are none of it."""
    if not override.key_or_group.startswith("hydra."):
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
