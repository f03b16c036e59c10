"""`python -m analysis`: the peak table and the learning-rate curves of a sweep, and its peaks over the sharpness."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.rendering import STYLES

KINDS = ("peaks", "grid", "batch", "rank", "duration", "difference", "cost")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="analysis: %(message)s", level=logging.WARNING)
    try:
        options.run(options)
    except AnalysisError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("runs", metavar="RUNS", type=Path, help="output_dir of a sweep: RUNS/<id>/record.json for each cell")

    table = commands.add_parser("table", parents=[runs], help="print a table of a sweep, such as each variant's peak")
    table.add_argument("--kind", choices=KINDS, default="peaks", help="default: %(default)s")
    table.add_argument("--format", choices=(*STYLES, "csv"), default="text", help="default: %(default)s")
    table.set_defaults(run=_table)

    plot = commands.add_parser("plot", parents=[runs], help="draw accuracy over the learning rate")
    plot.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/lr_curves.png)")
    plot.set_defaults(run=_plot)

    sharpness = commands.add_parser("sharpness", parents=[runs], help="compare the best learning rates with λmax")
    sharpness.add_argument(
        "--hessian", metavar="FOLDER", type=Path, required=True, help="output_dir of python -m hessian, such as runs/hessian"
    )
    sharpness.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/sharpness.png)")
    sharpness.set_defaults(run=_sharpness)

    proxy = commands.add_parser("proxy", parents=[runs], help="compare cells of a part of the samples with full ones")
    proxy.set_defaults(run=_proxy)
    return parser


def _proxy(options: argparse.Namespace) -> None:
    from analysis.load import load_records
    from analysis.proxies import agreements, text

    print(text(agreements(load_records(options.runs, proxies=True))), end="")


def _table(options: argparse.Namespace) -> None:
    from analysis.load import load_records
    from analysis.tables import table

    print(table(load_records(options.runs), options.kind, options.format), end="")


def _plot(options: argparse.Namespace) -> None:
    from analysis.load import load_records
    from analysis.plots import save_lr_curves

    path = options.out or options.runs / "lr_curves.png"
    save_lr_curves(load_records(options.runs), path)
    print(path)


def _sharpness(options: argparse.Namespace) -> None:
    from analysis.blocks import load_blocks
    from analysis.load import load_records
    from analysis.sharpness import compare, text
    from analysis.sharpness_plot import save_sharpness

    path = options.out or options.runs / "sharpness.png"
    comparisons = compare(load_records(options.runs), load_blocks(options.hessian))
    save_sharpness(comparisons, path)
    print(text(comparisons))
    print(path)


if __name__ == "__main__":
    sys.exit(main())
