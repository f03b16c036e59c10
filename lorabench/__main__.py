"""``python -m lorabench`` trains and evaluates one cell, or with ``-m`` a sweep; ``lorabench COMMAND`` does all there is."""

import os
import sys

from lorabench.terminal import signals

if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "lorabench":  # or the console script, which imports this file
    signals.catch()  # before what takes a while to import

import argparse
from importlib import import_module
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from lorabench import schema
from lorabench.console.commands import COMMANDS, check_command, is_cells, overview, screen
from lorabench.contributed import (
    config_dirs,
    exits_itself,
    given_folder,
    let_import,
    own_frames,
    own_modules_last,
    reason,
    without_config_dirs,
)
from lorabench.errors import UserError
from lorabench.provenance import version
from lorabench.terminal.entry import command, leave, one_line
from lorabench.terminal.quoting import with_home
from lorabench.terminal.words import check_flags, check_words

schema.register()


@hydra.main(version_base="1.3", config_path=str(schema.CONF), config_name="config")
def cli(cfg: DictConfig) -> float | None:
    """One job of Hydra: a cell. Its value, which a search maximises, is the validation score."""
    own_modules_last([folder for folder in (given_folder(), Path.cwd()) if folder])  # in a job of a launcher, too

    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from lorabench.cells.cell import Cell
    from lorabench.cells.plan import preflight
    from lorabench.cells.run import run
    from lorabench.cells.session import current
    from lorabench.errors import Failed

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        try:
            _check_choices()
            return run(Cell.of(cfg, current()))
        except (Exception, SystemExit) as error:
            if isinstance(error, UserError) or not own_frames(error):
                raise
            raise Failed(reason(error)) from error
    try:
        _check_choices()
        if swept := HydraConfig.get().sweeper.get("params"):
            raise UserError(f"this experiment sweeps {', '.join(swept)}: add -m")
        return run(Cell.of(cfg, current())) if preflight([cfg]) else None
    except (Exception, SystemExit) as error:
        leave(error)  # Hydra catches every Exception of a job and prints more than the one line; an exit passes
        raise


def _check_choices() -> None:
    """Raise UserError where a yaml chooses several parts of a group, which Hydra merges: then it states no choice."""
    from hydra.core.hydra_config import HydraConfig

    from lorabench.cells.cell import PARTS

    for group in PARTS:
        if group not in HydraConfig.get().runtime.choices:
            raise UserError(f"{group} is chosen as a list, of which Hydra makes one mixture; give one name in the yaml")


def main(console: bool = True) -> None:
    """Run the command line.

    Args:
        console: whether it is that of the console script, which without a command says what there is; ``python -m`` trains.
    """
    words = sys.argv[1:]
    name = words[0] if words else ""
    if "--version" in words and is_cells(name):  # Hydra has one of its own
        print(f"lorabench {version()}")
    elif console and name in ("", "-h", "--help"):
        print(overview(), end="")
    elif name in COMMANDS:
        _run_command(name, words[1:])
    else:
        with command():
            check_command(name)
            _cells()


def _run_command(name: str, words: list[str]) -> None:
    chosen = COMMANDS[name]
    if chosen.module is None:
        if {"-h", "--help"} & set(words[:1]):
            print(screen(name), end="")
            return
        sys.argv[1:] = [*chosen.words, *words]
        with command():
            _cells(several=name == "sweep")
        return
    with command():
        let_import(words)
    sys.argv[1:] = words
    prog = "lorabench" if chosen.words else f"lorabench {name}"  # of which the word that is put before says the rest
    sys.exit(import_module(chosen.module).main([*chosen.words, *words], prog))


def _cells(several: bool = False) -> None:
    let_import(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing, so that ours is the only line
    flags = [f"--config-dir={folder}" for folder in config_dirs(sys.argv[1:])]
    words = with_home(without_config_dirs(sys.argv[1:]))
    # Hydra wants its flags together.
    sys.argv[1:] = [*flags, *sorted(words, key=lambda word: word not in ("-m", "--multirun"))]
    given = one_line(get_args_parser()).parse_args()
    check_flags(given)
    check_words(given.overrides, [schema.CONF, *config_dirs(sys.argv[1:])])
    if several:
        _sweep(given)
    else:
        _run_cells()


def _sweep(given: argparse.Namespace) -> None:
    """Hold the GPUs of a sweep while it runs: here, or in workers where it has several places."""
    from lorabench.console.gpus import PER_GPU, claimed, whole
    from lorabench.console.workers import Workers, places_of

    gpus = places_of(given)
    with claimed(gpus, whole(PER_GPU, os.environ)):
        if len(gpus) > 1:
            sys.exit(Workers(sys.argv[1:], gpus).run())
        _run_cells()


def _run_cells() -> None:
    try:
        cli()
    except SystemExit as stop:
        if not exits_itself(stop):
            raise
        raise UserError(f"a file of your own ends the command ({reason(stop)}); let it raise another exception") from stop


if __name__ == "__main__":
    main(console=False)
