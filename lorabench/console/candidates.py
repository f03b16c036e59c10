"""What a command line can go on with: commands, groups and their choices, keys, options. Nothing is composed for it."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from lorabench.console.commands import COMMANDS, choices, is_cells
from lorabench.contributed import config_dirs
from lorabench.errors import UserError
from lorabench.schema import CONF, Config, ModelConfig, TrainerConfig

SCHEMAS = {"model": ModelConfig, "trainer": TrainerConfig}
"""Groups whose keys are the fields of a class; those of others are in their yamls."""

FLAGS = {"-m": [], "--cfg": ["job", "hydra", "all"], "--config-dir": [], "--help": []}
"""Flags of a command that composes cells, with their values."""

SWITCHES = [field.name for field in fields(Config) if field.type is bool]


def candidates(words: Sequence[str]) -> list[str]:
    """The words that the last one can become.

    Args:
        words: after ``lorabench``; the last, which may be empty, is the one that is being typed. Where it is the name of a
            file, there are none.
    """
    *before, current = words or [""]
    if not before and "=" not in current:
        listed = [*COMMANDS, "--help", "--version"] + (_keys(current, [], "config") if current else [])
    elif before and before[0] == "hessian":
        listed = _overrides(current, before[1:], "hessian")
    elif not before or is_cells(before[0]):
        listed = _overrides(current, before, "config")
    else:
        listed = _of_module(before[0], before[1:], current)
    return [word for word in dict.fromkeys(listed) if word.startswith(current)]


def _overrides(current: str, before: Sequence[str], config: str) -> list[str]:
    """Words of Hydra's kind, for the keys of a primary config."""
    if before and FLAGS.get(before[-1]) is not None and before[-1] in ("--cfg", "--config-dir"):
        return FLAGS[before[-1]]
    if current.startswith("-"):
        return [flag for flag in FLAGS if config == "config" or flag in ("--config-dir", "--help")]
    key, equals, value = current.partition("=")
    if not equals:
        return _keys(current, before, config)
    several = config == "hessian" or bool({"sweep", "plan", "-m", "--multirun"} & set(before))
    earlier = f"{value.rpartition(',')[0]}," if several and "," in value else ""
    return [f"{key}={earlier}{name}" for name in _values(key, before) if name not in earlier.split(",")]


def _values(key: str, before: Sequence[str]) -> list[str]:
    if key in SWITCHES:
        return ["true", "false"]
    group = {"variants": "variant"}.get(key, key.lstrip("+"))
    return choices(group, _folders(before))


def _keys(current: str, before: Sequence[str], config: str) -> list[str]:
    """Keys that go on to the next point; those that the line has already are left out."""
    given = {word.partition("=")[0] for word in before}
    listed = [key for key in _all_keys(config, before) if key.startswith(current) and key.rstrip("=") not in given]
    level = current.count(".")
    parts = [key.split(".") for key in listed]
    cut = [".".join(names[: level + 1]) + ("." if len(names) > level + 1 else "") for names in parts]
    return sorted(dict.fromkeys(cut), key=lambda key: key.endswith("."))


def _all_keys(config: str, before: Sequence[str]) -> Iterable[str]:
    """Every key with its ``=``, groups first."""
    primary = _read(CONF / f"{config}.yaml")
    chosen = {
        key.removeprefix("override "): name
        for entry in primary["defaults"]
        if isinstance(entry, dict)
        for key, name in entry.items()
    }
    chosen = {group: name for group, name in chosen.items() if (CONF / group).is_dir()}
    yield from (f"{group}=" for group in chosen)
    if config == "config":
        yield "+experiment="
    yield from (f"{key}=" for key in _leaves({key: node for key, node in primary.items() if key not in ("defaults", "hydra")}))
    given = dict(word.partition("=")[::2] for word in before)
    for group, default in chosen.items():
        name = given.get(group, str(default)).partition(",")[0]
        prefix = group.replace("/", ".")
        schema = SCHEMAS.get(group)
        keys = [field.name for field in fields(schema)] if schema else _group_keys(group, name, _folders(before))
        yield from (f"{prefix}.{key}=" for key in keys)


def _group_keys(group: str, name: str, folders: Sequence[Path], depth: int = 0) -> list[str]:
    """Keys of a choice, with those of the choices that it is made of."""
    file = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
    if file is None or depth > 10:
        return []
    node = _read(file)
    entries = [entry for entry in node.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    bases = [entry.partition("@")[0].removeprefix(f"/{group}/") for entry in entries]
    inherited = [key for base in bases for key in _group_keys(group, base, folders, depth + 1)]
    stated = {key: value for key, value in node.items() if key not in ("defaults", "_target_", "name") and value != "???"}
    own = _leaves(stated)
    return list(dict.fromkeys([*inherited, *own]))


def _leaves(node: dict[str, Any]) -> Iterable[str]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from (f"{key}.{below}" for below in _leaves(value) if not below.startswith("_"))
        else:
            yield str(key)


@cache
def _read(file: Path) -> dict[str, Any]:
    """A yaml, empty where it cannot be read; whoever runs the command is told what is wrong with it."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _folders(before: Sequence[str]) -> tuple[Path, ...]:
    try:
        return (CONF, *config_dirs(before))
    except UserError:
        return (CONF,)


def _of_module(name: str, before: Sequence[str], current: str) -> list[str]:
    """Options of a command that has a parser of its own."""
    command = COMMANDS[name]
    if command.module is None or command.heavy:
        return []
    words = [*command.words, *before]
    whole = words[:-1] if words and words[-1].startswith("-") else words  # of an option that has no value yet
    parser = import_module(command.module).parser("lorabench", whole)
    return _of_parser(parser, words, current)


def _of_parser(parser: argparse.ArgumentParser, before: Sequence[str], current: str) -> list[str]:
    options = {text: action for action in parser._actions for text in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            place = next((i for i, word in enumerate(before) if word in action.choices), None)
            if place is None:
                return [*options] if current.startswith("-") else [*action.choices]
            return _of_parser(action.choices[before[place]], before[place + 1 :], current)
    option = options.get(before[-1]) if before else None
    if option is not None and option.nargs != 0:
        return _suggested(option)
    if current.startswith("-"):
        return [text for text in options if text.startswith("--") and text not in before]
    return [value for action in parser._actions if not action.option_strings for value in _suggested(action)]


def _suggested(action: argparse.Action) -> list[str]:
    """Values of an option: all that it takes, or those that have names."""
    return [str(value) for value in getattr(action, "suggestions", None) or action.choices or ()]
