"""``python -m lorabench``: train and evaluate one cell; with ``-m``, a sweep. The first word may name another command."""

import os
import runpy
import sys
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from lorabench import schema
from lorabench.contributed import config_dirs, let_import, without_config_dirs
from lorabench.errors import UserError

COMMANDS = {
    "analysis": "analysis",
    "evaluate": "lorabench.evaluate",
    "hessian": "hessian",
    "new": "lorabench.new",
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
    from lorabench.cells.run import run
    from lorabench.cells.session import current

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run(Cell.of(cfg, current()))
    try:
        if swept := HydraConfig.get().sweeper.get("params"):
            raise UserError(f"this experiment sweeps {', '.join(swept)}: add -m")
        return run(Cell.of(cfg, current())) if preflight([cfg]) else None
    except UserError as error:
        # Hydra catches every Exception of a job and prints more than the one line; an exit passes.
        _leave(error)


def _leave(error: Exception) -> NoReturn:
    print(f"lorabench: {error}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Run the command line: a user's mistake ends in one line and exit code 2."""
    try:
        if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
            _other(COMMANDS[sys.argv.pop(1)])
        else:
            _cells()
    except KeyboardInterrupt:
        print("lorabench: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        _leave(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) had enough


def _other(module: str) -> None:
    let_import(sys.argv[1:])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _cells() -> None:
    from lorabench.terminal.mistakes import explain

    let_import(sys.argv[1:])
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing, so that the line below is the only one
    flags = [f"--config-dir={folder}" for folder in config_dirs(sys.argv[1:])]
    words = without_config_dirs(sys.argv[1:])
    # Hydra wants its flags together.
    sys.argv[1:] = [*flags, *sorted(words, key=lambda word: word not in ("-m", "--multirun"))]
    try:
        cli()
    except BrokenPipeError:
        raise
    except Exception as error:
        line = explain(error, schema.CONF)
        if traceback or line is None:
            raise
        _leave(UserError(line))


if __name__ == "__main__":
    main()
