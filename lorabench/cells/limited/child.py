"""The process that trains cells with a limit of time, one after the other; ``parent.py`` starts and ends it."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from lorabench.terminal import signals

if __name__ == "__main__":
    signals.catch()  # before what takes a while to import

from lorabench.cells.cell import Cell
from lorabench.cells.run import finished
from lorabench.cells.session import current
from lorabench.contributed import given_folder, own_modules_last, reason
from lorabench.errors import Busy, UserError


def main() -> None:
    """Take configs as lines of standard input, and say in lines on the descriptor of the first argument what comes of each."""
    replies = os.fdopen(int(sys.argv[1]), "w", buffering=1)

    def reply(state: str, text: str = "", fresh: bool = False) -> None:
        replies.write(json.dumps({"state": state, "text": text, "fresh": fresh}) + "\n")

    own_modules_last([folder for folder in (given_folder(), Path.cwd()) if folder])
    with signals.running():
        try:
            for line in sys.stdin:
                reply("starts")
                reply(*_outcome(json.loads(line), reply))
        except KeyboardInterrupt as stop:
            reply("interrupted", str(stop) or signals.cause())
            sys.exit(signals.code())


def _outcome(config: dict[str, Any], reply: Any) -> tuple[str, str, bool]:
    try:
        _, fresh = finished(Cell(config, current()), lambda: reply("begins"))
        return "finished", "", fresh
    except UserError as error:
        return "mistake", str(error), False
    except Busy as error:
        return "busy", str(error), False
    except Exception as error:  # the record says it, too
        return "failed", reason(error), False


if __name__ == "__main__":
    main()
