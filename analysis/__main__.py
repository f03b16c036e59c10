"""`python -m analysis`: tables, figures and a report of a sweep, from its records."""

import argparse
import logging
import math
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from analysis.arguments import Parser, points
from analysis.errors import AnalysisError
from analysis.kinds import FIGURES, TABLES, Kinds, add_kind
from analysis.published import FOLDER as PUBLISHED
from analysis.read.metrics import TEST, VALIDATION
from analysis.stats import MARGIN
from analysis.style.rendering import STYLES

OF_EVERY_KIND = ("runs", "published", "metric", "select_by", "kind", "format", "out", "run")
"""Options that are not those of a kind of table or figure alone."""


def main(arguments: list[str] | None = None, prog: str = "python -m analysis") -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # what its encoding lacks becomes a question mark
    logging.basicConfig(format="lorabench: %(message)s", level=logging.WARNING)
    try:
        options = parser(prog, words).parse_args(words)
        options.run(options)
    except AnalysisError as error:
        print(f"lorabench: {error}", file=sys.stderr)
        return 2
    return 0


def parser(prog: str, words: list[str]) -> Parser:
    """The parser of the command line; a table's or figure's options hang on the kind that the words name."""
    parser = Parser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs = Parser(add_help=False)
    runs.add_argument("runs", metavar="RUNS", type=Path, help="output_dir of a sweep: RUNS/<id>/record.json for each cell")

    beside = Parser(add_help=False)
    beside.add_argument(
        "--published",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        const=PUBLISHED,
        help="show published cells of the same models and tasks, too; without FOLDER those that come with this package",
    )
    scored = Parser(add_help=False)
    scored.add_argument(
        "--metric",
        metavar="NAME",
        default=TEST,
        help="show this instead of the cells' own test score: TASK/METRIC of lm-eval's tasks, as arc_easy/acc, or test/SET of "
        "one test set; a wrong name lists all. NAME:percent or NAME:fraction states a unit that the name does not tell, as of "
        "F1. Peaks are the best of it. Of what is better when lower, perplexities are shown "
        "as the probabilities that they are of, other numbers as 1 less them",
    )
    scored.add_argument(
        "--select-by",
        metavar="NAME",
        default=VALIDATION,
        help="choose learning rates by this metric instead of the task's own validation score (`selected`): any --metric, "
        "validation/SET or validation_loss",
    )
    measured = Parser(add_help=False)
    measured.add_argument("--hessian", metavar="FOLDER", type=Path, help="of python -m hessian (default: RUNS/hessian)")

    of_kind: dict[str, Any] = {"parents": [runs, beside, scored], "formatter_class": argparse.RawDescriptionHelpFormatter}
    table = commands.add_parser("table", help="print a table of a sweep, such as each variant's peak", **of_kind)
    table.add_argument("--format", choices=(*STYLES, "csv"), default="text", help="default: %(default)s")
    add_kind(table, TABLES, "peaks", words)
    table.set_defaults(run=_table)

    plot = commands.add_parser("plot", help="draw a figure, such as accuracy over the learning rate", **of_kind)
    plot.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/KIND.png)")
    add_kind(plot, FIGURES, "lr_curves", words)
    plot.set_defaults(run=_plot)

    sharpness = commands.add_parser(
        "sharpness", parents=[runs, measured, scored], help="compare the best learning rates with λmax"
    )
    sharpness.add_argument("--out", metavar="FILE", type=Path, help=".png, .pdf or .svg (default: RUNS/sharpness.png)")
    sharpness.set_defaults(run=_sharpness)

    advise = commands.add_parser("advise", help="suggest learning rates from LoRA's and the sharpness")
    advise.add_argument("folder", metavar="FOLDER", type=Path, help="output_dir of python -m hessian (runs/hessian by default)")
    advise.add_argument("--lr", metavar="LOW,HIGH", required=True, help="LoRA's good learning rates, such as 1e-4,1e-3")
    advise.add_argument("--published", metavar="FILE", type=Path, help="CSV of published cells, to show their quotients beside")
    advise.add_argument("--format", choices=("text", "csv"), default="text", help="csv has the ratios to LoRA alone")
    advise.set_defaults(run=_advise)

    report = commands.add_parser(
        "report",
        parents=[runs, beside, measured, scored],
        help="write everything as one HTML file that opens from disk",
        description="One HTML file with a summary, interactive learning-rate curves, peaks with intervals, tests of "
        "equivalence with LoRA, all cells, costs, and, where there are records of them, sharpness and searches (RUNS/search). "
        "It needs no network.",
    )
    report.add_argument("--out", metavar="FILE", type=Path, help=".html (default: RUNS/report.html)")
    equal = f"differences to LoRA: equal within (default: {100 * MARGIN:g})"
    report.add_argument("--margin", metavar="POINTS", type=points, default=MARGIN, help=equal)
    report.set_defaults(run=_report)

    recommend = commands.add_parser("recommend", parents=[runs], help="say which method, learning rate and rank to use")
    about = "compare with the LoRA of these values, such as lr=2e-4,rank=8; what is left open is as in most cells"
    recommend.add_argument("--default", metavar="KEY=VALUE,...", help=about)
    recommend.add_argument("--margin", metavar="POINTS", type=points, default=MARGIN, help=equal.replace("to LoRA: ", ""))
    recommend.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    search_before = "records of the search that chose what is in RUNS: they say what was tried, and enter no score"
    recommend.add_argument("--searched", metavar="FOLDER", type=Path, help=search_before)
    recommend.set_defaults(run=_recommend)

    proxy = commands.add_parser("proxy", parents=[runs], help="compare cells of a part of the samples with full ones")
    proxy.add_argument("--published", action="store_true", help="show the correlations that paper 2 found, too")
    proxy.set_defaults(run=_proxy)

    search = commands.add_parser("search", parents=[runs], help="compare searches by method (RUNS/search)")
    search.add_argument("--format", choices=STYLES, default="text", help="default: %(default)s")
    search.add_argument("--published", action="store_true", help="show paper 2's results, too")
    search.set_defaults(run=_search)

    rules = "test paper 1's rules of practice, and suggest a sweep"
    commands.add_parser("heuristics", parents=[runs, measured, scored], help=rules).set_defaults(run=_heuristics)

    responses = commands.add_parser("responses", parents=[runs], help="show one problem's answers over learning rates")
    responses.add_argument("--id", help="of the test problem (default: the one on which the cells disagree the most)")
    responses.add_argument("--set", help="its test set, where several have the id")
    responses.set_defaults(run=_responses)

    compare = commands.add_parser("compare", parents=[scored], help="which cells of two sets of results differ beyond noise")
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


def _read_kind(kinds: Kinds, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """What a kind reads, and its own options."""
    from analysis.read.load import load_beside

    own = {name: value for name, value in vars(options).items() if name not in OF_EVERY_KIND}
    read = getattr(kinds.module(options.kind), "read", None)
    if read is None:
        return load_beside(options.runs, options.published, options.metric, options.select_by), own
    if (options.metric, options.select_by) != (TEST, VALIDATION):
        raise AnalysisError(f"--kind {options.kind} shows no scores of cells: leave out --metric and --select-by")
    return read(options.runs, options.published), own


def _table(options: argparse.Namespace) -> None:
    from analysis.tables import table

    data, own = _read_kind(TABLES, options)
    print(table(data, options.kind, options.format, **own), end="")


def _plot(options: argparse.Namespace) -> None:
    from analysis.style.drawing import save

    def figure() -> Any:
        data, own = _read_kind(FIGURES, options)
        return FIGURES.module(options.kind).draw(data, **own)

    path = options.out or options.runs / f"{Path(options.kind).stem}.png"
    save(figure, path)
    print(path)


def _read_cells(options: argparse.Namespace) -> Any:
    """The frame of cells, with the scores that the command line names."""
    from analysis.read.load import load_records

    return load_records(options.runs, metric=options.metric, select_by=options.select_by)


def _sharpness(options: argparse.Namespace) -> None:
    from analysis.figures.sharpness_lr import draw
    from analysis.questions.sharpness import compare, text
    from analysis.read.blocks import load_blocks
    from analysis.style.drawing import save

    path = options.out or options.runs / "sharpness.png"
    comparisons = compare(_read_cells(options), load_blocks(options.hessian or options.runs / "hessian"))
    save(partial(draw, comparisons), path)
    print(text(comparisons))
    print(path)


def _advise(options: argparse.Namespace) -> None:
    from analysis.questions.advice import published_quotients, text
    from analysis.read.blocks import load_blocks

    low, high = math.nan, math.nan
    with suppress(ValueError):
        low, high = map(float, options.lr.split(","))
    if not 0 < low <= high < math.inf:
        raise AnalysisError(f"--lr {options.lr} is not LOW,HIGH with 0 < LOW <= HIGH, such as 1e-4,1e-3")
    quotients = published_quotients(options.published) if options.published else None
    print(text(load_blocks(options.folder), low, high, quotients, options.format), end="")


def _report(options: argparse.Namespace) -> None:
    from analysis.report.html import report

    path = options.out or options.runs / "report.html"
    scores = {"metric": options.metric, "select_by": options.select_by}
    size = report(options.runs, path, options.hessian, options.published, options.margin, **scores)
    print(f"{path} ({size / 1e6:.1f} MB)")


def _recommend(options: argparse.Namespace) -> None:
    from analysis.questions.recommendation import answer, defaults, form, words

    default = None if options.default is None else defaults.parse(options.default)
    answers = answer.of_folders(options.runs, options.searched, default, options.margin)
    print(form.as_json(answers, options.margin) + "\n" if options.format == "json" else words.text(answers), end="")


def _proxy(options: argparse.Namespace) -> None:
    from analysis.questions.proxies import agreements, text
    from analysis.read.load import load_records

    print(text(agreements(load_records(options.runs, proxies=True)), options.published), end="")


def _search(options: argparse.Namespace) -> None:
    from analysis.questions.searches import text
    from analysis.read.journals import searches_of

    print(text(searches_of(options.runs), options.published, options.format), end="")


def _heuristics(options: argparse.Namespace) -> None:
    from analysis.questions.heuristics import findings, text
    from analysis.questions.suggestions import suggestions
    from analysis.read.blocks import blocks_of
    from analysis.style.notes import notes

    frame = _read_cells(options)
    print(text(findings(frame, *blocks_of(options.runs, options.hessian)), suggestions(frame), notes(frame)), end="")


def _responses(options: argparse.Namespace) -> None:
    from analysis.questions.responses import problem, text
    from analysis.read.load import load_records

    print(text(problem(load_records(options.runs), options.id, options.set)), end="")


def _compare(options: argparse.Namespace) -> None:
    from analysis.questions.compare import compare, text
    from analysis.read.load import load_together

    a, b = load_together([options.a, options.b], wide=True, metric=options.metric, select_by=options.select_by)
    print(text(compare(a, b), (options.a.name, options.b.name)), end="")


def _export(options: argparse.Namespace) -> None:
    from analysis.read.load import load_records
    from analysis.report.export import export

    columns = None if options.columns is None else options.columns.split(",")
    frame = load_records(options.runs, wide=True, proxies=options.proxies)
    print(f"{options.out}: {export(frame, options.out, columns)} cells")


def _wandb(options: argparse.Namespace) -> None:
    from analysis.read.load import load_records
    from analysis.report.wandb import save, write

    frame = load_records(options.runs)
    if options.out is None:
        print(save(frame, options.project, options.entity))
    else:
        write(frame, options.project, options.entity or "", options.out)
        print(options.out)


if __name__ == "__main__":
    sys.exit(main())
