"""Kinds of tables and figures are files: nothing else names them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.kinds import FIGURES, TABLES

ROOT = Path(__file__).resolve().parents[2]
TABLE = '''"""How many cells each variant has."""

from analysis.style.rendering import Block


def add_arguments(parser):
    parser.add_argument("--least", type=int, default=1, help="leave out variants of fewer cells")


def blocks(cells, least=1):
    counts = frame(cells, least)
    rows = [[name, str(count)] for name, count in zip(counts["variant"], counts["count"], strict=True)]
    return [Block("Cells", "of each variant", ["variant", "cells"], "<>", rows, [])], []


def frame(cells, least=1):
    counts = cells["variant"].value_counts().sort_index().reset_index()
    return counts[counts["count"] >= least]
'''
FIGURE = '''"""Files of a folder, by their suffix."""

from matplotlib.figure import Figure


def read(runs, published):
    return sorted(path.suffix for path in runs.iterdir())


def draw(suffixes):
    figure = Figure()
    figure.add_subplot().hist(suffixes)
    return figure
'''


@pytest.fixture
def cells(runs, write):
    for seed in (0, 1):
        write("lora", 2e-3, seed, 0.5)
    write("pissa", 2e-3, 0, 0.5)
    return runs


@pytest.mark.parametrize("kinds", [TABLES, FIGURES])
def test_every_kind_keeps_its_promise_and_is_described(kinds):
    assert len(kinds.names()) > 5 and len(kinds.describe().splitlines()) == len(kinds.names())
    for name, line in zip(kinds.names(), kinds.describe().splitlines(), strict=True):
        module = kinds.module(name)
        assert callable(module.blocks) and callable(module.frame) if kinds is TABLES else callable(module.draw)
        assert line.split()[0] == name and len(line.split()) > 3


@pytest.mark.parametrize(("command", "kinds"), [("table", TABLES), ("plot", FIGURES)])
def test_help_lists_all_kinds_without_importing_them(command, kinds):
    words = [sys.executable, "-X", "importtime", "-m", "analysis", command, "--help"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in result.stdout.partition("their own options):\n")[2].splitlines()] == kinds.names()
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not imported & {"pandas", "numpy", "matplotlib"}


def test_help_of_a_kind_has_its_options(capsys):
    with pytest.raises(SystemExit):
        main(["table", "--kind", "difference", "--help"])
    assert "of --kind difference:\n  --margin POINTS" in capsys.readouterr().out


def test_a_new_file_is_a_new_kind(cells, tmp_path):
    """As CONTRIBUTING says: one file, and no list."""
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis")
    (tmp_path / "analysis" / "tables" / "counts.py").write_text(TABLE)
    (tmp_path / "analysis" / "figures" / "files.py").write_text(FIGURE)

    def analysis(*words):
        words = [sys.executable, "-m", "analysis", *map(str, words)]
        return subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)

    assert "  counts        How many cells each variant has." in analysis("table", "--help").stdout.splitlines()
    assert "lora         2" in analysis("table", cells, "--kind", "counts").stdout.splitlines()
    csv = analysis("table", cells, "--kind", "counts", "--least", 2, "--format", "csv")
    assert (csv.returncode, csv.stdout) == (0, "variant,count\nlora,2\n"), csv.stderr
    figure = analysis("plot", cells, "--kind", "files")
    assert (figure.returncode, figure.stdout) == (0, f"{cells / 'files.png'}\n"), figure.stderr


def test_a_file_of_ones_own_is_a_kind(cells, tmp_path, capsys):
    table, figure = tmp_path / "counts.py", tmp_path / "files.py"
    table.write_text(TABLE)
    figure.write_text(FIGURE)
    assert main(["table", str(cells), "--kind", str(table), "--least", "2"]) == 0
    assert "lora         2" in (text := capsys.readouterr().out) and "pissa" not in text
    assert main(["plot", str(cells), "--kind", str(figure)]) == 0
    assert (cells / "files.png").is_file()


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        ("table", "diference", "no kind of table 'diference' (did you mean 'difference'?): there are batch, cost, "),
        ("plot", "nope", "no kind of figure 'nope': there are audit, batch, "),
        ("table", "_over", "no kind of table '_over'"),
        ("table", "missing.py", "no file missing.py: --kind takes a name or a file of your own"),
        ("table", "{figure}", "files.py is no kind of table: it defines no function blocks"),
    ],
)
def test_what_is_no_kind_is_one_line(cells, tmp_path, capsys, command, kind, message):
    (tmp_path / "files.py").write_text(FIGURE)
    assert main([command, str(cells), "--kind", kind.format(figure=tmp_path / "files.py")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.startswith("lorabench: ") and err.count("\n") == 1


def test_a_kind_without_numbers_has_no_csv(cells, tmp_path, capsys):
    (tmp_path / "words.py").write_text("def blocks(cells):\n    return [], ['nothing']\n")
    assert main(["table", str(cells), "--kind", str(tmp_path / "words.py"), "--format", "csv"]) == 2
    assert "defines no function frame, which CSV needs" in capsys.readouterr().err
