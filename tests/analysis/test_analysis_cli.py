"""`python -m analysis` as a user meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)


def test_table(runs, write):
    write("lora", 2e-3, 0, 0.95)
    result = python("-m", "analysis", "table", runs)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("tiny · arithmetic\n")


def test_plot_goes_into_the_runs_by_default(runs, write):
    write("lora", 2e-3, 0, 0.95)
    result = python("-m", "analysis", "plot", runs)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", f"{runs / 'lr_curves.png'}\n")
    assert (runs / "lr_curves.png").is_file()


def test_a_warning_is_one_line_apart_from_the_table(runs, write):
    write("lora", 2e-3, 0, 0.95)
    path = write("lora", 2e-3, 1, 0.95)
    path.write_text("{")
    result = python("-m", "analysis", "table", runs, "--format", "csv")
    assert result.returncode == 0
    assert result.stderr.startswith(f"lorabench: skipped {path}: not valid JSON")
    assert result.stderr.count("\n") == 1
    assert result.stdout.startswith("model,task,rank,")


@pytest.mark.parametrize("command", ["table", "plot"])
@pytest.mark.parametrize("missing", [True, False])
def test_nothing_to_show_is_one_line_and_exit_code_2(runs, command, missing):
    result = python("-m", "analysis", command, runs / "missing" if missing else runs)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("lorabench: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["plot", "runs", "--kind"], "analysis plot: argument --kind: expected one argument"),
        (
            ["table", "runs", "--kind=difference", "--margin", "x"],
            "analysis table: argument --margin: 'x' is not a positive, finite number",
        ),
        (
            ["table", "runs", "--kind", "difference", "--margin", "inf"],
            "analysis table: argument --margin: 'inf' is not a positive, finite number",
        ),
        (["table", "runs", "--kind", "cost", "--margin", "1"], "lorabench: unrecognized arguments: --margin 1"),
        (["report", "runs", "--margin", "0"], "analysis report: argument --margin: '0' is not a positive, finite number"),
        (["nope"], "lorabench: argument COMMAND: invalid choice: 'nope'"),
        (["compare", "runs"], "analysis compare: the following arguments are required: B"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(capsys, arguments, line):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(line) and error.endswith("(see --help)\n") and error.count("\n") == 1


def loaded_modules(code):
    return set(python("-c", f"{code}\nimport sys; print(*sys.modules)").stdout.split())


def test_imports_neither_training_nor_its_libraries():
    modules = loaded_modules(
        "import analysis.__main__, analysis.tables.difference, analysis.figures.lr_curves, analysis.report.html"
    )
    assert "analysis.figures.lr_curves" in modules
    assert not modules & {"torch", "lorabench", "hydra", "transformers"}


def test_help_needs_no_heavy_library():
    result = python("-X", "importtime", "-m", "analysis", "--help")
    assert result.returncode == 0
    assert "usage: python -m analysis" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"pandas", "numpy", "matplotlib"}
