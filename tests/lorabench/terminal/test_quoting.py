"""A word that Hydra cannot read: the line to type, which means what was meant."""

import os
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lorabench.terminal.quoting import quote, to_type, with_home

VALUES = [
    "a=b",
    "Größe",
    "x(1)",
    "it's",
    'a"b',
    "[a",
    "a]",
    "a{b}",
    "a#b;c&d*e?f!g",
    'a\\"b',
    "a\\\\'",
    "(a b)",
    "日本/x",
    "a=b, c",
    "'a",
    "$HOME`x`",
    "~x",
    "!x|y<z>",
    "{a",
    "a,",
]


def read(line):
    """What a shell and then Hydra make of a line."""
    [word] = shlex.split(line)
    return OverridesParser.create().parse_override(word)


@pytest.mark.parametrize("value", VALUES)
def test_the_line_to_type_means_the_value(value):
    with pytest.raises(HydraException):
        OverridesParser.create().parse_override(f"model.path={value}")
    override = read(to_type(f"model.path={value}", several=False))
    assert (override.get_key_element(), override.value()) == ("model.path", value)


@pytest.mark.parametrize("value", [*VALUES, "a,b", "plain", "", "null", "5", "x\\y", "a\\"])
def test_a_quoted_text_is_that_text(value):
    assert read(shlex.quote(f"key={quote(value)}")).value() == value


@pytest.mark.parametrize(
    ("value", "values"),
    [("a=b,c=d", ["a=b", "c=d"]), ("lora,", "lora"), ("1e-3,Größe", [1e-3, "Größe"])],
)
def test_with_several_values_each_gets_its_quotes(value, values):
    override = read(to_type(f"key={value}", several=True))
    read_values = list(override.sweep_iterator()) if override.is_sweep_override() else override.value()
    assert [getattr(v, "text", v) for v in read_values] == values if isinstance(values, list) else read_values == values


def test_the_items_of_a_list_get_theirs():
    assert read(to_type("key=[a=b,plain]", several=False)).value() == ["a=b", "plain"]


@pytest.mark.parametrize("word", ["lr", "=3", "+=3"])
def test_what_no_quotes_mend_has_no_line(word):
    assert to_type(word, several=False) is None or word == "+=3"


HOME = os.path.expanduser("~")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("model.path=~/x", f"model.path={HOME}/x"),
        ("output_dir=~", f"output_dir={HOME}"),
        ("+evaluator.include_path=~/x", f"+evaluator.include_path={HOME}/x"),
        ("hydra.sweeper.journal=~/j", f"hydra.sweeper.journal={HOME}/j"),
        ("hydra.run.dir=~/j", f"hydra.run.dir={HOME}/j"),
        ("task.path=~/a,~/b,c", f"task.path={HOME}/a,{HOME}/b,c"),
        ('task.path=~/a,"b,~/c"', f'task.path={HOME}/a,"b,~/c"'),
    ],
)
def test_a_home_folder_is_written_out_where_a_path_begins(word, meant):
    assert with_home([word]) == [meant]


@pytest.mark.parametrize(
    "word",
    [
        "~lr",
        "~model.path",
        "lr",
        "model.path=a~/b",
        "model.path=~user/y",
        'model.path="~/x"',
        "model.path='a,~/x'",
        "task.train.files=[~/a]",
        "evaluator.tasks=[~/a,~/b]",
        "variant.name=~/x",
        "variant.target_modules=[~]",
        "task.pathology=~/x",
    ],
)
def test_no_other_tilde_is_a_home_folder(word):
    assert with_home([word]) == [word]
