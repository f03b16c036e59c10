"""``python -m lorabench``: train and evaluate one cell; with ``-m``, a sweep. The first word may name another command."""

import os
import runpy
import sys

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from lorabench import schema
from lorabench.contributed import config_dirs, exits_itself, let_import, own_frames, reason, without_config_dirs
from lorabench.errors import UserError
from lorabench.terminal.entry import command, leave, one_line
from lorabench.terminal.quoting import with_home
from lorabench.terminal.words import check_flags, check_words

COMMANDS = {
    "analysis": "analysis",
    "evaluate": "lorabench.evaluate",
    "hessian": "hessian",
    "new": "lorabench.new",
    "tasks": "lorabench.tasks",
    "variants": "lorabench.variants",
}
"""Other commands of the console script, by the module that ``python -m`` runs."""

schema.register()


@hydra.main(version_base="1.3", config_path=str(schema.CONF), config_name="config")
def cli(cfg: DictConfig) -> float | None:
    """One job of Hydra: a cell. Its value, which a search maximises, is the validation score."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from lorabench.cells.cell import Cell
    from lorabench.cells.plan import preflight
    from lorabench.cells.run import Failed, run
    from lorabench.cells.session import current

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


def main() -> None:
    """Run the command line."""
    other = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if other is None:
        with command():
            _cells()
        return
    del sys.argv[1]
    with command():
        let_import(sys.argv[1:])
    runpy.run_module(other, run_name="__main__", alter_sys=True)  # which has its own ``command``


def _cells() -> None:
    let_import(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing, so that ours is the only line
    flags = [f"--config-dir={folder}" for folder in config_dirs(sys.argv[1:])]
    words = with_home(without_config_dirs(sys.argv[1:]))
    # Hydra wants its flags together.
    sys.argv[1:] = [*flags, *sorted(words, key=lambda word: word not in ("-m", "--multirun"))]
    given = one_line(get_args_parser()).parse_args()
    check_flags(given)
    check_words(given.overrides, [schema.CONF, *config_dirs(sys.argv[1:])])
    try:
        cli()
    except SystemExit as stop:
        if not exits_itself(stop):
            raise
        raise UserError(f"a file of your own ends the command ({reason(stop)}); let it raise another exception") from stop


if __name__ == "__main__":
    main()
