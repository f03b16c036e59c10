"""``lorabench tune``: one question, one command."""

import argparse
import sys
from collections.abc import Sequence

from lorabench.terminal.entry import command, one_line

ABOUT = """\
Which method, which learning rate, which rank for this model and these data, how much better than the default, how sure?

Looks at the data, proposes learning rates, searches, trains the best and the default LoRA again with more seeds, writes a
report, and ends with the command that trains the final adapter. The same command goes on after an interruption, with a
larger budget too.

  lorabench tune data=questions.csv
  lorabench tune model=path:DIR data=train.jsonl task.test=test.jsonl --budget 30
  lorabench tune model=qwen3-0.6b task=math task.path=DATA variant=lora,pissa,rslora rank=16 --hours 8
"""


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [key=value ...] [--budget N | --hours H] [--seeds N]",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="key=value",
        help="as of lorabench run; data=FILE is task=custom task.train=FILE; a key with several values is tuned, too",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--budget", type=int, metavar="N", help="cells to train, those for the comparison included (20)")
    amount.add_argument("--hours", type=float, metavar="H", help="as many cells as about so many hours have room for")
    parser.add_argument("--seeds", type=int, metavar="N", help="of the finalists (3, with less than 16 cells 2)")
    parser.add_argument("--search-seed", type=int, default=0, metavar="N", help="of the search's first points (0)")
    parser.add_argument("--no-sharpness", action="store_true", help="do not measure λmax for the range of learning rates")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of configs of your own")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lorabench.tune") -> None:
    """Run the command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with command():
        options = one_line(parser(prog)).parse_intermixed_args(words)

        from lorabench.tune.processes import Stopped
        from lorabench.tune.question import Question
        from lorabench.tune.stages import Tuning

        own = [f"--config-dir={options.config_dir}"] if options.config_dir else []
        question = Question.of([*own, *options.words])
        tuning = Tuning(question, options.seeds, options.search_seed)
        try:
            tuning.run(options.budget, options.hours, sharpness=not options.no_sharpness)
        except Stopped as stopped:
            print(f"lorabench: tune ends here; the same command goes on ({tuning.folder})", file=sys.stderr)
            sys.exit(stopped.code)


if __name__ == "__main__":
    main()
