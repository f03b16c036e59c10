"""Words of a command line that Hydra would take in a sense that nobody means: refused before anything is composed."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from lorabench.choices import HUB, names_source
from lorabench.errors import UserError
from lorabench.schema import Config

PARAMS = "hydra.sweeper.params."
"""What stands before a swept key is swept like a key of the command line."""

LONGEST = 200
"""Characters of a key, or of a choice."""

NO_AXES = ("experiment", "tracker")
"""Groups that no grid has as an axis: an experiment has axes of its own, a tracker leaves results alone."""

NAMED_BY_YAML = ("evaluator", "subset", "probe", "tracker")
"""Groups whose names stand for their class alone; a model, a task or a variant with other settings may get one of its own."""

SOURCES = ("path", "hub", "package", "file")
"""Keys of a model that say where its weights are, beside the revision of a hub."""


def check_flags(flags: argparse.Namespace) -> None:
    """Raise UserError for a flag of Hydra's that leads away from this command's config."""
    if flags.experimental_rerun is not None:
        raise UserError("--experimental-rerun has no use here; the same command run again keeps what is done and goes on")
    if flags.config_name is not None or flags.config_path is not None:
        raise UserError("the command has one config (no --config-name); add your own yamls by --config-dir DIR")
    if flags.resolve and not (flags.cfg or flags.help):
        raise UserError("--resolve goes with --cfg: --cfg job --resolve")


def check_words(words: Sequence[str], folders: Sequence[Path], schema: type = Config, sweeps: bool = True) -> None:
    """Check the overrides of a command; one that Hydra cannot read is left to its error.

    Args:
        words: as they came from the shell, without flags.
        folders: of configs, whose folders are the groups.
        schema: the dataclass of the config, whose fields all have values.
        sweeps: whether the command has ``-m``, for the advice.

    Raises:
        UserError: several choices of a group as one, a key twice, a key that may not go, or a node of Hydra's as a whole.
    """
    first: dict[str, str] = {}
    for word in words:
        if (override := _parsed(word)) is None:
            continue
        group = override.key_or_group
        names = _names(_elements(override)) if len(group) <= LONGEST and _is_group(group, folders) else []
        if (
            max(map(len, (group, *(name for name in names if not names_source(name))))) > LONGEST
        ):  # more than a file's name can have
            raise UserError(f"{word[:40]}… is no key or choice; see --help")
        parent, _, folder = group.partition("/")
        if folder and parent != "hydra" and _is_group(group, folders):
            raise UserError(f"{word}: a folder is part of the choice; write {parent}={folder}/{word.partition('=')[2]}")
        axis = sweeps and group not in NO_AXES and not group.startswith("hydra")
        _check_hydras(override)
        if _is_group(group, folders):
            _check_choice(override, axis)
        _check_kept(override, schema, words)
        key = override.get_key_element().lstrip("+~").removeprefix(PARAMS)
        if key in first:
            both = [earlier.partition("=")[2] for earlier in (first[key], word)]
            each = f", or write {key}={','.join(both)} -m to run each" if axis and all(both) and both[0] != both[1] else ""
            raise UserError(f"{key} is given twice, {first[key]} and {word}; keep one{each}")
        first[key] = word
    _check_sources(first)


def _check_sources(words: Mapping[str, str]) -> None:
    """A model has one source: what ``model=path:DIR`` or ``model=hub:…`` names is given by no other key, too."""
    override = _parsed(words.get("model", ""))
    names = _names(_elements(override)) if override is not None and override.key_or_group else []
    if source := next(filter(names_source, names), None):
        open_revision = source.startswith(HUB) and "@" not in source  # model.revision=COMMIT pins it
        for key in (*SOURCES, *(() if open_revision else ("revision",))):
            if (other := words.get(f"model.{key}")) is not None:
                raise UserError(f"model={source} says where the weights are, and so does {other}; leave one of them out")


def _is_group(key: str, folders: Sequence[Path]) -> bool:
    return any((folder / key).is_dir() for folder in folders)


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # also a number of too many digits
        return None


def _elements(override: Override) -> list[object]:
    """The values of a key: of a sweep that lists them, each."""
    if override.is_delete():
        return []
    choices = getattr(override.value(), "list", None) if override.is_sweep_override() else [override.value()]
    return list(choices or [])


def _names(elements: Sequence[object]) -> list[str]:
    """The choices of a group, those in lists too."""
    return [str(name) for element in elements for name in (element if isinstance(element, list) else [element])]


def _check_choice(override: Override, axis: bool) -> None:
    """One choice of a group makes a cell; of a list Hydra merges all of them."""
    group, key, word = override.key_or_group, override.get_key_element(), override.input_line
    elements = _elements(override)
    if group in NO_AXES and override.is_sweep_override() and len(elements) != 1:  # glob lists none
        raise UserError(f"{word} has several choices, and a command takes one {group}; write {key}=NAME")
    if any(isinstance(element, dict) for element in elements):
        raise UserError(f"{word} is no choice; write {key}=NAME, and its settings as {group}.KEY=VALUE")
    if any(isinstance(element, list) for element in elements):
        names = _names(elements)
        each = f"{key}={','.join(names)} -m to run each" if axis and len(names) > 1 else f"{key}=NAME for one of them"
        raise UserError(f"{word} is a list, of which Hydra would make one mixture; write {each}")


def _check_kept(override: Override, schema: type, words: Sequence[str]) -> None:
    """Every field of the config has a value; the choice of some parts is what their name says."""
    key = override.key_or_group
    if override.is_delete() and key in {field.name for field in dataclasses.fields(schema)}:
        raise UserError(f"{key} must have a value; leave {override.input_line} out")
    group, _, leaf = key.partition(".")
    if group in NAMED_BY_YAML and leaf == "name" and not any(word.startswith(f"{group}._target_=") for word in words):
        raise UserError(f"{override.input_line}: this name stands in the yaml; choose another {group} by {group}=NAME")


def _check_hydras(override: Override) -> None:
    """What holds Hydra's settings has them one by one."""
    key = override.key_or_group
    if key.startswith(PARAMS) and (group := key.removeprefix(PARAMS)) in NO_AXES:
        raise UserError(f"{override.input_line}: {group} is no axis, and a command takes one {group}; write {group}=NAME")
    if key in ("hydra", "hydra.sweeper", "hydra.launcher"):
        raise UserError("hydra.sweeper and hydra.launcher are chosen by hydra/sweeper=NAME and hydra/launcher=NAME")
    node = getattr(HydraConf(), key.removeprefix("hydra."), None) if key.startswith("hydra.") else None
    if (dataclasses.is_dataclass(node) or isinstance(node, dict)) and not isinstance(next(iter(_elements(override)), 0), dict):
        raise UserError(f"{override.input_line}: {key} holds settings; set them one by one, as {key}.KEY=VALUE")
