"""Classes and configs from outside the package: what ``--config-dir`` names, and the working folder."""

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lorabench.errors import UserError

FLAGS = ("--config-dir", "-cd")


def config_dirs(words: Sequence[str]) -> list[Path]:
    """The folders that a command line names.

    >>> [folder.name for folder in config_dirs(["lr=1e-3", "--config-dir", "mine", "--config-dir=ours"])]
    ['mine', 'ours']

    Raises:
        UserError: a flag without a folder.
    """
    if words and words[-1] in FLAGS:
        raise UserError(f"{words[-1]} needs a folder: {words[-1]} DIR")
    behind = [word for flag, word in itertools.pairwise(words) if flag in FLAGS]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return [Path(folder).resolve() for folder in [*behind, *joined]]


def without_config_dirs(words: Sequence[str]) -> list[str]:
    """The other words of a command line."""
    behind = {i + 1 for i, word in enumerate(words) if word in FLAGS}
    return [w for i, w in enumerate(words) if i not in behind and w not in FLAGS and not w.startswith("--config-dir=")]


def let_import(words: Sequence[str]) -> None:
    """Let Python import what lies beside the configs, here and in the jobs of a launcher, and in the working folder.

    ``python -m`` has the working folder on its path, a console script does not.

    Raises:
        UserError: no such folder, or several.
    """
    given = [str(folder) for folder in config_dirs(words)]
    if len(given) > 1:
        raise UserError(f"--config-dir is given {len(given)} times, and Hydra takes one; put your files into one folder")
    for folder in given:
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir {folder} does not exist; give the folder that holds your variant/, task/ … yamls")
    sys.path[:0] = [folder for folder in [*given, str(Path.cwd())] if folder not in sys.path]
    if given:
        before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*given, *before]))
