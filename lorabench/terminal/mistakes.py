"""Hydra's and OmegaConf's errors about a command line, in one line with the nearest valid name."""

import difflib
import os
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lorabench.annotations import requirement_at
from lorabench.choices import PATH
from lorabench.contributed import given_folder, reason
from lorabench.errors import FULL, UserError, nearest
from lorabench.schema import Config
from lorabench.terminal.quoting import quote, to_type
from lorabench.terminal.words import LONGEST

INSTALLED, PYTHON = (Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "stdlib"))
HYDRAS = ("hydra", "omegaconf", "antlr4")
"""Hydra, and packages that it is made of."""


def explain(error: BaseException, conf: Path, config: str = "config", schema: type = Config) -> str | None:
    """One line for an error that the user can mend, None for any other (a bug, whose traceback is wanted).

    Args:
        error: what was raised.
        conf: the folder of configs.
        config: the primary config of the command, whose keys are the valid ones.
        schema: the dataclass of that config.
    """
    if isinstance(error, UserError):
        return str(error)
    if type(error).__name__ in ("SweepFailed", "SweepError", "Failed"):  # of `sweeps` and `cells`, not imported here
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        if error.missing_cfg_file.startswith("model/"):
            return _no_model(error.missing_cfg_file.removeprefix("model/"), error.options or [])
        return _no_choice(error.missing_cfg_file, error.options or [], conf)
    if isinstance(error, UnicodeDecodeError) and (file := _undecodable(error)):
        return f"{file} is not UTF-8; save it as UTF-8"
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, [line.strip() for line in str(error).splitlines() if line.strip()])
    if isinstance(error, InstantiationException) and (located := re.match(r"Error locating target '([^']+)'", str(error))):
        node = str(error).rpartition("full_key: ")[2]
        return f"{node}: cannot import {located.group(1)} ({reason(error.__cause__ or error)})"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, TypeError):
        node = str(error).rpartition("full_key: ")[2]
        text = " ".join(str(error.__cause__).split())
        if named := re.search(r"unexpected keyword argument '([^']+)'", text):
            argument = f"{node}.{named.group(1)}"
            return f"unknown key '{argument}'; {_nearest_key(argument, _keys(conf, config))}"
        return f"{node}: {text}"
    if isinstance(error, HydraException | OmegaConfBaseException) and (
        missing := re.search(r"Missing mandatory value: ([\w./]+)", str(error))
    ):
        return f"{missing.group(1)} has no value; give it in its yaml, or as {missing.group(1)}=VALUE"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _of_a_config(error, conf, config, schema)
    if isinstance(error, ValueError | TypeError) and (line := _of_a_word(error, conf)):
        return line
    if isinstance(error, OSError) and error.errno in FULL:
        return f"cannot write ({error.strerror}); make room, and the same command goes on"
    if isinstance(error, OSError) and error.filename:
        # Hydra makes the output folder before any of our checks can run.
        given = next((a.partition("=")[2] for a in sys.argv[1:] if a.startswith("output_dir=")), "runs")
        if Path(error.filename).absolute().is_relative_to(Path(given).absolute()):
            return f"output_dir={given} cannot be written ({error.strerror}); give another folder"
    return _of_hydra(error)


def _of_hydra(error: BaseException) -> str | None:
    """Of what Hydra, or what it is made of, raises without a class for it: where it takes a value without a check."""
    frames = [Path(frame.filename).resolve() for frame in traceback.extract_tb(error.__traceback__)]
    packages = [file for file in frames if not file.is_relative_to(PYTHON) or file.is_relative_to(INSTALLED)]
    if not packages or not packages[-1].is_relative_to(INSTALLED) or packages[-1].relative_to(INSTALLED).parts[0] not in HYDRAS:
        return None
    words = [word for word in sys.argv[1:] if word.lstrip("+~").startswith("hydra")] or sys.argv[1:]
    return f"Hydra cannot work with {shlex.join(words)} ({reason(error)}); leave it out, or give another value"


def _no_model(name: str, names: Sequence[str]) -> str:
    """Of a model without a yaml, which may be a folder or a hub's id with its kind left out."""
    if "/" in name and not difflib.get_close_matches(name, names, n=1):
        is_path = name.startswith(("/", ".", "~")) or os.path.isdir(name)
        return (
            f"model={name} does not exist; write model={f'path:{name}' if is_path else f'hub:{name}@COMMIT, or model=path:DIR'}"
        )
    return f"model={name} does not exist; {nearest(name, names)}"


def _no_choice(missing: str, options: Sequence[str], conf: Path) -> str:
    """Of a config that is not there; a group may have choices in folders, ``task=peft_bench/sst2``."""
    group, _, name = missing.rpartition("/") if missing.startswith("hydra/") else missing.partition("/")
    below = {file.stem: f"{file.parent.name}/{file.stem}" for file in sorted((conf / group).glob("*/*.yaml"))}
    if name in below:
        return f"{group}={name} does not exist; did you mean '{below[name]}'?"
    beside = [choice for choice in below.values() if choice.partition("/")[0] == name.partition("/")[0] and "/" in name]
    folders = [f"{choice.partition('/')[0]}/NAME" for choice in below.values()]
    return f"{group}={name} does not exist; {nearest(name, beside or [*options, *folders])}"


def _undecodable(error: UnicodeDecodeError) -> Path | None:
    """The yaml of the user's own that holds these bytes."""
    folder = given_folder()
    return (
        next((file for file in sorted(folder.rglob("*.yaml")) if file.read_bytes() == error.object), None) if folder else None
    )


def _unreadable(word: str, lines: Sequence[str]) -> str:
    """Of a word that Hydra's grammar does not allow, with the word to type."""
    if "=" not in word and not word.startswith("~"):
        return f"'{word}' is not key=value; see --help"
    if proposed := to_type(word, several=bool({"-m", "--multirun"} & set(sys.argv))):
        return f"cannot read {word}{': quotes are missing; as a text,' if chr(34) in proposed else ';'} write {proposed}"
    return f"cannot read {word} ({lines[0]})"


def _of_a_config(error: Exception, conf: Path, config: str, schema: type) -> str:
    """Of a key that is not there, or a value that the schema does not allow."""
    lines = [line.strip() for e in (error, error.__cause__) if e is not None for line in str(e).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    if lines[0].startswith("Ambiguous value for argument"):
        word = lines[0].partition("'")[2].rpartition("'")[0]
        name, _, given = word.partition("=")
        a_text = given.startswith(PATH) if (conf / name).is_dir() else _takes_text(name, schema)
        one = f", or write {shlex.quote(f'{name}={quote(given)}')} for one text" if a_text else ""
        return f"{word} has several values: add -m to run each of them{one}"
    if "Could not override 'experiment'" in lines[0]:
        return "an experiment is added, not overridden: write +experiment=NAME, and -m to run its grid"
    if there := re.search(r"An item is already at '([^']+)'", lines[0]):
        return f"{there.group(1)} is there already: write {there.group(1)}=VALUE, without +"
    full_key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), "")
    text = " ".join(lines)
    key = re.search(r"Could not (?:override|append to config|find)[^']*'([^'@]+)", text)
    missing = re.search(r"is not in struct|not in '\w*Config'", text)
    unknown = key.group(1) if key else full_key if missing else None
    if unknown and unknown not in (keys := _keys(conf, config)):
        if config == "config" and unknown.startswith("hessian."):
            return f"{unknown} is probe.{unknown.partition('.')[2]} now, with probe=hessian"
        return f"unknown key '{unknown}'; {_nearest_key(unknown, keys)}"
    if unknown and "." in unknown and "Could not override" in text:  # of another choice of its group
        return f"the chosen {unknown.partition('.')[0]} has no {unknown}: give it in its yaml, or write +{unknown}=VALUE"
    if full_key and "does not support deletion" in text:
        return f"{full_key} must have a value; leave ~{full_key} out"
    reason = next((line for line in lines if line.startswith("Value ")), lines[0])
    place = full_key.partition("[")[0]  # the override gives a list as a whole
    if place and (wanted := requirement_at(place, schema)):
        value = re.match(r"Error merging override [^=]*=(.*)", lines[0]) or re.match(r"Value '(.*?)' (?:of type|is)", reason)
        if value:
            return f"{place}={value.group(1)} must be {wanted}"
    if "does not have a `_target_` field" in reason:
        return "hydra.sweeper and hydra.launcher are chosen by hydra/sweeper=NAME and hydra/launcher=NAME"
    return f"{full_key}: {reason}" if full_key else reason


def _takes_text(key: str, schema: type) -> bool:
    return (requirement_at(key, schema) or "a text").startswith("a text")


def _of_a_word(error: Exception, conf: Path) -> str | None:
    """Of what Hydra does not check itself."""
    reason, raised = str(error), traceback.extract_tb(error.__traceback__)
    if reason.startswith("Only one of --run"):
        return (
            "--cfg, --info and -m each stand alone: --cfg job without -m shows one cell, --cfg hydra -p hydra.sweeper the axes"
        )
    if raised and Path(raised[-1].filename).is_relative_to(Path(hydra.__file__).parent):
        for word in sys.argv[1:]:
            key, equal, value = word.partition("=")
            if equal and not key.strip("+~"):
                return f"'{word}' is not key=value; see --help"
            group = key.strip("+~").partition("@")[0]
            if equal and group and len(group) < LONGEST and (conf / group).is_dir():
                names = [file.stem for file in (conf / group).glob("*.yaml")]
                if value not in names:
                    return f"{word if len(word) < 80 else word[:40] + '…'} does not exist; {nearest(value[:80], names)}"
    if reason.startswith("Exceeds the limit"):
        word = max(sys.argv[1:], key=len, default="")
        return f"{word[:40]}… has a number of too many digits"
    return None


def _keys(conf: Path, config: str) -> list[str]:
    """All keys of a primary config and of the sweeper, dotted, and the config groups beside it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        if config != "config":
            return _flat(OmegaConf.to_container(compose(config)))
        choices = [word for word in sys.argv[1:] if os.path.isfile(conf / f"{word.replace('=', '/', 1)}.yaml")]  # of any length
        whole = compose(config, choices, return_hydra_config=True)
        keys = [
            key
            for key in _flat(OmegaConf.to_container(whole))
            if key.startswith("hydra.sweeper") or not key.startswith("hydra.")
        ]
        return [*(key for key in keys if "._" not in key), "experiment", "hydra/sweeper", "hydra/launcher"]


def _flat(tree: Any, prefix: str = "") -> list[str]:
    """The keys of a config in plain containers, of which no value is resolved."""
    keys = []
    for key, node in tree.items():
        keys.append(f"{prefix}{key!s}")
        if isinstance(node, dict):
            keys += _flat(node, f"{prefix}{key!s}.")
    return keys


def _nearest_key(key: str, keys: list[str]) -> str:
    parent, dot, leaf = key.rpartition(".")
    if dot and parent in keys:
        below = [k[len(parent) + 1 :] for k in keys if k.startswith(f"{parent}.") and "." not in k[len(parent) + 1 :]]
        deep = f"; one that the yaml leaves out is added by +{key}=VALUE" if parent.startswith("task.") else ""  # of a source
        if not below:  # open to any key, as what a library's own settings are
            return f"write +{key}=VALUE"
        return f"{nearest(leaf, below)}{deep}"
    if (group := key.partition(".")[0]) in keys and dot:  # what it has, not what others call alike
        below = [k for k in keys if k.startswith(f"{group}.")]
        return (
            f"{group} has: {', '.join(k[len(group) + 1 :] for k in below if k.count('.') == 1)}"
            if below
            else f"{group} has none"
        )
    # The last part alone finds `lr` for `trainer.lr` and `variant.alpha` for `alpha`.
    by_leaf = {k.rsplit(".", 1)[-1]: k for k in sorted(keys, key=len, reverse=True)}
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.7)
    close = close or [by_leaf[leaf] for leaf in difflib.get_close_matches(key.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.6)]
    if close:
        return f"did you mean '{close[0]}'?"
    return f"available: {', '.join(k for k in keys if '.' not in k)} and what lies below them"
