"""results/coverage.md: each command that stands there composes and fits the embedded model; its table of PEFT's types is the code's."""

import contextlib
import re

import pytest
from hydra import compose, initialize_config_dir
from peft import PeftType

from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.schema import CONF, register
from lorabench.variants import peft_types

PAGE = (CONF.parent / "results" / "coverage.md").read_text()
WORD = re.compile(r"[+]?[a-z][\w./@]*=[^\s=`]+")


def rows(title):
    """The cells of each line of the table below a title, without its head."""
    section = next(part for part in PAGE.split("\n## ") if part.startswith(title))
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


SUITES = {title: rows(title) for title in ("PEFT-Factory", "LoRAFactory", "All types of PEFT")}
COMMANDS = sorted(span for span in set(re.findall(r"`([^`]+)`", PAGE)) if all(map(WORD.fullmatch, span.split())))
REFUSED = {"variant=full variant.weights=biases": "this model has no bias vector"}
"""What fits other models than the embedded one, as the page says."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes_and_fits_the_embedded_model(command):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cell = Cell.of(compose("config", ["model=tiny", *command.split()]), current())
    with pytest.raises(UserError, match=REFUSED[command]) if command in REFUSED else contextlib.nullcontext():
        cell.variant.check(linear_shapes(cell.model))


def test_each_row_has_a_command_or_a_reason():
    for title, table in SUITES.items():
        for row in table:
            assert len(row[-1]) > 10, (title, row)
            assert re.fullmatch(r"\d{4}\.\d{5}|–", row[-2] if title != "All types of PEFT" else row[1]), (title, row)
            if row[-1].startswith("`"):
                assert row[-1].split("`")[1] in COMMANDS, (title, row)


def test_what_is_counted_is_what_stands_there():
    counted = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) of (\d+) run\.", PAGE)]
    assert counted == [
        (sum(row[-1].startswith("`") for row in SUITES[title]), len(SUITES[title])) for title in ("PEFT-Factory", "LoRAFactory")
    ]
    assert len(SUITES["PEFT-Factory"]) == 19 and len(SUITES["LoRAFactory"]) > 50


def test_the_table_of_pefts_types_is_the_codes():
    works = {name: (works, said) for name, _, works, said in SUITES["All types of PEFT"]}
    assert list(works) == sorted(kind.value for kind in PeftType)
    for name, (how, said) in works.items():
        if reason := peft_types.LACKS.get(name):
            assert (how, said) == ("no", reason)
        else:
            assert how == ("answers itself" if name in peft_types.NOT_MERGED else "merged")
            assert said.startswith(f"`variant=peft variant.peft_type={name}")
