"""``python -m lorabench``: train and evaluate one cell; with ``-m``, a sweep."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from lorabench import schema
from lorabench.errors import UserError

PACKAGE = Path(__file__).resolve().parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())  # installed, or a checkout

schema.register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def cli(cfg: DictConfig) -> float | None:
    """One job of Hydra: a cell. Its value, which a search maximises, is the validation score."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from lorabench.cell import Cell
    from lorabench.plan import preflight
    from lorabench.run import run

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run(Cell.of(cfg))
    try:
        if swept := HydraConfig.get().sweeper.get("params"):
            raise UserError(f"this experiment sweeps {', '.join(swept)}: add -m")
        return run(Cell.of(cfg)) if preflight([cfg]) else None
    except UserError as error:
        # Hydra catches every Exception of a job and prints more than the one line; an exit passes.
        _leave(error)


def _leave(error: Exception) -> NoReturn:
    print(f"lorabench: {error}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Run the command line: a user's mistake ends in one line and exit code 2."""
    from lorabench.config_errors import explained

    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise instead of printing, so that the line below is the only one
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # Hydra wants its flags together
    try:
        cli()
    except KeyboardInterrupt:
        print("lorabench: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) had enough
    except Exception as error:
        line = explained(error, CONF)
        if traceback or line is None:
            raise
        _leave(UserError(line))


if __name__ == "__main__":
    main()
