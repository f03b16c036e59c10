"""Models that a command names without a yaml: ``model=path:DIR`` and ``model=hub:OWNER/NAME@COMMIT``, as configs for Hydra."""

from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from lorabench.errors import UserError

GROUP, SCHEME = "model/", "models"
PATH, HUB = "path:", "hub:"


def names_source(choice: object) -> bool:
    """Whether a choice of a model names where its weights are, and no yaml.

    >>> names_source("path:/models/mine"), names_source("tiny")
    (True, False)
    """
    return str(choice).startswith((PATH, HUB))


def content(choice: str) -> dict[str, Any]:
    """What such a choice stands for: the keys of a model's yaml.

    >>> content("path:/models/mine")
    {'path': '/models/mine'}
    >>> content("hub:owner/name@0123")
    {'hub': 'owner/name', 'revision': '0123'}

    Raises:
        UserError: it names no folder, or no id, or nothing behind ``@``.
    """
    if choice.startswith(PATH):
        if not (folder := choice.removeprefix(PATH)).strip():
            raise UserError("model=path: names no folder; write model=path:DIR")
        return {"path": folder}
    name, at, revision = choice.removeprefix(HUB).partition("@")
    if not name.strip() or (at and not revision.strip()):
        raise UserError(f"model={choice} is incomplete; write model=hub:OWNER/NAME@COMMIT")
    return {"hub": name, "revision": revision or None}


class ModelSource(ConfigSource):
    """A place of Hydra's search path with a config for every such choice: what ``model.path=…`` or ``model.hub=…`` makes."""

    @staticmethod
    def scheme() -> str:
        """What its place is written with."""
        return SCHEME

    def available(self) -> bool:
        """It is no place that could be missing."""
        return True

    def is_group(self, config_path: str) -> bool:
        """It adds to a group that is there without it."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Whether a config is asked for that it makes."""
        return config_path.startswith(GROUP) and names_source(config_path.removeprefix(GROUP))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Those that could be listed: none."""
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        """The default model's settings, on which ``model.path=…`` stands, too, with the source in the place of its own."""
        default = yaml.safe_load((Path(self.path) / GROUP / "tiny.yaml").read_text(encoding="utf-8"))
        kept = {key: default[key] for key in ("name", "dtype")}
        node = OmegaConf.create(kept | content(config_path.removeprefix(GROUP)))
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", node, {"package": None})


class ModelSearchPath(SearchPathPlugin):
    """Puts the source behind a command's own folder of configs, whose default model it takes the other settings from."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See the class."""
        for place in search_path.get_path():
            if place.provider == "main" and place.path:
                search_path.append("lorabench", f"{SCHEME}://{place.path.removeprefix('file://')}")
                return


def register() -> None:
    """Make the source known to Hydra."""
    for plugin in (ModelSource, ModelSearchPath):
        Plugins.instance().register(plugin)
