"""`python -m analysis`: tables, figures and a report of a sweep, from its records."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from analysis.errors import AnalysisError
from analysis.read.published import PUBLISHED
from analysis.style.rendering import STYLES

FIGURES = ("lr_curves", "rank", "duration", "batch", "heatmap", "pareto", "search", "audit")
KINDS = ("peaks", "grid", "batch", "rank", "duration", "difference", "cross_fitted", "cost")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A mistake is one line, as everywhere; the usage is what --help is for."""
        self.exit(2, f"{self.prog.removeprefix('python -m ')}: {message} (see --help)\n")


def _positive(text: str) -> float:
    """A finite number above 0, for argparse."""
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive, finite number")


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


def _parser() -> _Parser:
    parser = _Parser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs = _Parser(add_help=False)
    runs.add_argument("runs", metavar="RUNS", type=Path, help="output_dir of a sweep: RUNS/<id>/record.json for each cell")

    beside = _Parser(add_help=False)
    beside.add_argument(
        "--published",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        const=PUBLISHED,
        help="show published cells of the same models and tasks, too; without FOLDER those that come with this package",
    )

    margin: dict[str, Any] = {"metavar": "POINTS", "type": _positive, "default": 1.0}
    table = commands.add_parser("table", parents=[runs, beside], help="print a table of a sweep, such as each variant's peak")
    table.add_argument("--kind", choices=KINDS, default="peaks", help="default: %(default)s")
    table.add_argument("--format", choices=(*STYLES, "csv"), default="text", help="default: %(default)s")
    table.add_argument("--margin", **margin, help="of --kind difference: equal within (default: %(default)g)")
    table.add_argument(
        "--within",
        metavar="PERCENT",
        type=float,
        default=1.0,
        help="of --kind peaks: the best lr range reaches that far below the peak (default: %(default)g)",
    )
    table.set_defaults(run=_table)

    plot = commands.add_parser("plot", parents=[runs, beside], help="draw a figure, such as accuracy over the learning rate")
    plot.add_argument("--kind", choices=FIGURES, default="lr_curves", help="default: %(default)s")
    plot.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/KIND.png)")
    plot.set_defaults(run=_plot)

    sharpness = commands.add_parser("sharpness", parents=[runs], help="compare the best learning rates with λmax")
    sharpness.add_argument("--hessian", metavar="FOLDER", type=Path, help="of python -m hessian (default: RUNS/hessian)")
    sharpness.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/sharpness.png)")
    sharpness.set_defaults(run=_sharpness)

    report = commands.add_parser(
        "report",
        parents=[runs, beside],
        help="write everything as one HTML file that opens from disk",
        description="One HTML file with a summary, interactive learning-rate curves, peaks with intervals, tests of "
        "equivalence with LoRA, all cells, costs, and, where there are records of them, sharpness and searches (RUNS/search). "
        "It needs no network.",
    )
    report.add_argument("--out", metavar="FILE", type=Path, help=".html (default: RUNS/report.html)")
    report.add_argument("--hessian", metavar="FOLDER", type=Path, help="of python -m hessian (default: RUNS/hessian)")
    report.add_argument("--margin", **margin, help="differences to LoRA: equal within (default: %(default)g)")
    report.set_defaults(run=_report)

    proxy = commands.add_parser("proxy", parents=[runs], help="compare cells of a part of the samples with full ones")
    proxy.add_argument("--published", action="store_true", help="show the correlations that paper 2 found, too")
    proxy.set_defaults(run=_proxy)

    search = commands.add_parser("search", parents=[runs], help="compare searches by method (RUNS/search)")
    search.add_argument("--format", choices=STYLES, default="text", help="default: %(default)s")
    search.add_argument("--published", action="store_true", help="show paper 2's results, too")
    search.set_defaults(run=_search)

    heuristics = commands.add_parser("heuristics", parents=[runs], help="test paper 1's rules of practice, and suggest a sweep")
    heuristics.add_argument("--hessian", metavar="FOLDER", type=Path, help="of python -m hessian (default: RUNS/hessian)")
    heuristics.set_defaults(run=_heuristics)

    responses = commands.add_parser("responses", parents=[runs], help="show one problem's answers over learning rates")
    responses.add_argument("--id", help="of the test problem (default: the one on which the cells disagree the most)")
    responses.add_argument("--set", help="its test set, where several have the id")
    responses.set_defaults(run=_responses)

    compare = commands.add_parser("compare", help="which cells of two sets of results differ beyond noise")
    compare.add_argument("a", metavar="A", type=Path)
    compare.add_argument("b", metavar="B", type=Path)
    compare.set_defaults(run=_compare)

    export = commands.add_parser("export", parents=[runs], help="write all cells as one CSV or Parquet")
    export.add_argument("--out", metavar="FILE", type=Path, required=True, help=".csv or .parquet")
    export.add_argument("--columns", help="which, with commas (default: all)")
    export.add_argument("--proxies", action="store_true", help="cells of a part of the samples, too")
    export.set_defaults(run=_export)

    wandb = commands.add_parser("wandb", parents=[runs], help="the report of peaks for W&B, on its server or as a file")
    wandb.add_argument("--project", default="lorabench", help="that the cells were logged to (default: %(default)s)")
    wandb.add_argument("--entity", help="its owner (default: yours)")
    wandb.add_argument("--out", metavar="FILE", type=Path, help="write the report's specification as JSON; needs no network")
    wandb.set_defaults(run=_wandb)
    return parser


def _wandb(options: argparse.Namespace) -> None:
    from analysis.read.load import load_records
    from analysis.report.wandb import save, write

    frame = load_records(options.runs)
    if options.out is None:
        print(save(frame, options.project, options.entity))
    else:
        write(frame, options.project, options.entity or "", options.out)
        print(options.out)


def _heuristics(options: argparse.Namespace) -> None:
    from analysis.questions.heuristics import findings
    from analysis.questions.heuristics_table import text
    from analysis.questions.suggestions import suggested
    from analysis.read.blocks import blocks_of
    from analysis.read.load import load_records

    frame = load_records(options.runs)
    print(text(findings(frame, *blocks_of(options.runs, options.hessian)), suggested(frame)), end="")


def _responses(options: argparse.Namespace) -> None:
    from analysis.questions.responses import problem, text
    from analysis.read.load import load_records

    print(text(problem(load_records(options.runs), options.id, options.set)), end="")


def _compare(options: argparse.Namespace) -> None:
    from analysis.questions.compare import compare
    from analysis.questions.compare_table import text
    from analysis.read.load import load_together

    one, other = load_together([options.a, options.b], wide=True)
    print(text(compare(one, other), (options.a.name, options.b.name)), end="")


def _export(options: argparse.Namespace) -> None:
    from analysis.read.load import load_records
    from analysis.report.export import export

    columns = None if options.columns is None else options.columns.split(",")
    print(
        f"{options.out}: {export(load_records(options.runs, wide=True, proxies=options.proxies), options.out, columns)} cells"
    )


def _proxy(options: argparse.Namespace) -> None:
    from analysis.questions.proxies import agreements, text
    from analysis.read.load import load_records

    print(text(agreements(load_records(options.runs, proxies=True)), options.published), end="")


def _search(options: argparse.Namespace) -> None:
    from analysis.questions.searches import text
    from analysis.read.journals import searches_of

    print(text(searches_of(options.runs), options.published, options.format), end="")


def _table(options: argparse.Namespace) -> None:
    from analysis.read.load import load_beside
    from analysis.tables import table

    frame = load_beside(options.runs, options.published)
    print(table(frame, options.kind, options.format, options.margin / 100, options.within / 100), end="")


def _plot(options: argparse.Namespace) -> None:
    from analysis.figures import figure
    from analysis.figures.lr_curves import save

    path = options.out or options.runs / f"{options.kind}.png"
    save(lambda: figure(options.kind, options.runs, options.published), path)
    print(path)


def _report(options: argparse.Namespace) -> None:
    from analysis.report.html import report

    path = options.out or options.runs / "report.html"
    size = report(options.runs, path, options.hessian, options.published, options.margin / 100)
    print(f"{path} ({size / 1e6:.1f} MB)")


def _sharpness(options: argparse.Namespace) -> None:
    from analysis.figures.sharpness_lr import save_sharpness
    from analysis.questions.sharpness import compare, text
    from analysis.read.blocks import load_blocks
    from analysis.read.load import load_records

    path = options.out or options.runs / "sharpness.png"
    comparisons = compare(load_records(options.runs), load_blocks(options.hessian or options.runs / "hessian"))
    save_sharpness(comparisons, path)
    print(text(comparisons))
    print(path)


if __name__ == "__main__":
    sys.exit(main())
