"""The commands of the console script: each has a screen, none needs torch for it, and each is what ``python -m`` has."""

import pytest

from lorabench.console.commands import COMMANDS, choices, overview, top_level_keys
from lorabench.provenance import version
from lorabench.schema import CONF

SCREENS = """
import contextlib, io, json, sys
from lorabench.__main__ import main
printed = {}
for name in sys.argv[1:]:
    sys.argv[1:] = [*name.split(), "--help"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (name, end.code)
    printed[name] = out.getvalue()
heavy = {"torch", "transformers", "peft", "pandas", "scipy", "matplotlib", "datasets", "huggingface_hub"} & set(sys.modules)
print(json.dumps([printed, sorted(heavy)]))
"""
TORCH = {"variants"}
"""Whose help is that of a module made of variants."""


@pytest.fixture(scope="module")
def screens(python):
    """What each command prints for --help, and what was imported for all of them."""
    import json

    done = python("-c", SCREENS, *sorted(set(COMMANDS) - TORCH))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_help_is_a_screen_that_says_how_it_is_called(screens):
    printed, _ = screens
    assert printed.keys() == set(COMMANDS) - TORCH
    for name, text in printed.items():
        assert text.startswith(f"usage: lorabench {name}"), name
        assert 5 < len(text.splitlines()) <= 45, name


def test_no_help_imports_what_is_heavy(screens):
    assert screens[1] == []


def test_the_overview_names_all(script):
    for words in ([], ["--help"], ["-h"]):
        done = script(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, overview(), "")
    assert len(overview().splitlines()) <= 35
    assert all(f"\n  {name} " in overview() for name in COMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["run", "--version"], ["lr=1e-3", "--version"]], ids=" ".join)
def test_the_version_is_our_own(script, words):
    done = script(*words)
    assert (done.returncode, done.stdout) == (0, f"lorabench {version()}\n")


def test_the_version_of_a_checkout_that_is_not_installed(monkeypatch):
    from importlib import metadata

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    installed = version()
    monkeypatch.setattr(metadata, "version", absent)
    assert version() == installed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["tabel", "runs"], "'tabel' is no command, and not key=value; did you mean 'table'? (see lorabench --help)"),
        (["swep"], "'swep' is no command, and not key=value; did you mean 'sweep'? (see lorabench --help)"),
        (["zzzzz"], f"'zzzzz' is no command, and not key=value; available: {', '.join(sorted(COMMANDS))} (see"),
        (["run", "tabel"], "'tabel' is not key=value; see --help"),
        (["plan", "lr=x"], "lr=x must be a number"),
        (["table"], "the following arguments are required: RUNS (see lorabench table --help)"),
        (["search-bench"], "the following arguments are required: --tables (see --help)"),
    ],
)
def test_a_mistake_is_one_line(script, tmp_path, words, line):
    done = script(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lorabench: {line}") and len(done.stderr.splitlines()) == 1


def test_run_sweep_plan_and_the_analysis_work_on_the_same_cells_as_before(script, python, quick, tmp_path):
    words = [*quick, f"output_dir={tmp_path}"]
    done = script("run", "lr=1e-3", *words)
    assert done.returncode == 0, done.stderr
    done = script("plan", "lr=1e-3,2e-3", *words)
    assert done.returncode == 0 and done.stdout.startswith("2 cells: 1 complete, 1 to run"), done.stdout + done.stderr
    done = script("sweep", "lr=1e-3,2e-3", *words)
    assert done.returncode == 0, done.stderr
    before = python("-m", "lorabench", "lr=1e-3,2e-3", *words, "plan=true", "-m")
    assert before.stdout.startswith("2 cells: 2 complete"), before.stdout + before.stderr
    table = script("table", str(tmp_path))
    assert table.returncode == 0 and table.stdout == python("-m", "analysis", "table", str(tmp_path)).stdout
    assert "lora" in table.stdout
    figure = script("plot", str(tmp_path), "--out", str(tmp_path / "curves.svg"))
    assert figure.returncode == 0 and (tmp_path / "curves.svg").exists(), figure.stderr
    same = script("compare", str(tmp_path), str(tmp_path))
    assert same.returncode == 0, same.stderr


def test_a_plan_takes_what_a_run_and_what_a_sweep_takes(script, tmp_path):
    one = script("plan", "lr=1e-3", cwd=tmp_path)
    assert one.stdout.startswith("1 cell: 1 to run"), one.stderr
    many = script("plan", "+experiment=gemma_math_lrsweep", cwd=tmp_path)
    assert many.stdout.startswith("540 cells: 540 to run"), many.stderr


def test_python_m_without_words_is_a_cell_as_before(python, script, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    done = python("-m", "lorabench", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("lorabench: output_dir=runs cannot be written"), done.stderr
    assert script(cwd=tmp_path).returncode == 0


def test_choices_are_those_that_can_be_chosen():
    assert "search" not in choices("hydra/sweeper") and {"grid", "gp"} <= set(choices("hydra/sweeper"))
    assert choices("variant") == sorted(file.stem for file in (CONF / "variant").glob("*.yaml"))


def test_the_keys_of_a_screen_are_those_of_the_config():
    from dataclasses import fields

    from lorabench.schema import Config

    groups = {"model", "task", "variant", "trainer", "evaluator", "tracker", "probe", "subset"}
    named = [line.partition(":")[0] for line in top_level_keys().splitlines()]
    assert sorted(named) == sorted({field.name for field in fields(Config)} - groups)
