"""Values against annotations: every kind of them, of dataclasses and plain classes, of one's own too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import pytest
from omegaconf import OmegaConf

from lorabench.annotations import check, check_fields, requirement_at, target_of, text_of
from lorabench.errors import UserError
from lorabench.schema import CONF, Config

if TYPE_CHECKING:
    from nowhere import Unknown

FITS = [
    (8, int),
    (-8, int),
    (8, float),
    (8.5, float),
    (True, bool),
    ("5", str),
    ("", str),
    (None, int | None),
    (3, int | None),
    ("x", str | list[str]),
    (["x"], str | list[str]),
    ([], list[int]),
    ([1, 2], list[int]),
    ([1, 2], Sequence[int]),
    ([1, 2], list),
    ([1, [2]], list[int | list[int]]),
    ([1, 0.5], tuple[float, float]),
    ([1, 0.5, 2], tuple[float, ...]),
    ({"a": 1}, dict[str, int]),
    ({"a": {"b": None}}, Mapping[str, Any]),
    ("a", Literal["a", "b"]),
    (3, Annotated[int, "a mark"]),
    ("x/y", Path),
    (Decimal(1), Any),
    ([float("nan")], Any),
    ("gelu", Callable[[int], int]),
]
WRONG = [
    (None, int, "key=null must be a whole number"),
    (8.5, int, "key=8.5 must be a whole number"),
    (8.0, int, "key=8.0 must be a whole number"),
    (True, int, "key=true must be a whole number"),
    ("5", int, 'key="5" must be a whole number'),
    (10**30, int, "key=<many digits> must be a whole number of at most 18 digits"),
    (-(10**5000), int, "key=<many digits> must be a whole number of at most 18 digits"),
    (None, float, "key=null must be a number"),
    ("x", float, "key=x must be a number"),
    (True, float, "key=true must be a number"),
    (math.nan, float, "key=nan must be a finite number"),
    (math.inf, float, "key=inf must be a finite number"),
    (10**5000, float, "key=<many digits> must be a number of at most 18 digits"),
    (1, bool, "key=1 must be true or false"),
    ("true", bool, 'key="true" must be true or false'),
    (5, str, "key=5 must be a text"),
    (None, str, "key=null must be a text"),
    (["x"], str, "key=[x] must be a text"),
    ("x", int | None, "key=x must be a whole number or null"),
    (5, str | list[str], "key=5 must be a text or a list of texts"),
    ([5], str | list[str], "key[0]=5 must be a text"),
    ("x", list[str], "key=x must be a list of texts; write key=[x]"),
    ({"a": 1}, list[str], "key={a: 1} must be a list of texts"),
    (None, list[str], "key=null must be a list of texts"),
    ([1, None], list[int], "key[1]=null must be a whole number"),
    ([[1], [2, 0.5]], list[list[int]], "key[1][1]=0.5 must be a whole number"),
    (3, list, "key=3 must be a list; write key=[3]"),
    ([0.9], tuple[float, float], "key=[0.9] must be a list of 2 numbers"),
    ([0.9, "x"], tuple[float, float], "key[1]=x must be a number"),
    ("x", dict[str, int], "key=x must be keys with values; set them one by one, as key.KEY=VALUE"),
    ([], dict[str, int], "key=[] must be keys with values"),
    ({"a": 1.5}, dict[str, int], "key.a=1.5 must be a whole number"),
    ({"a": {"b": 1}}, dict[str, dict[str, bool]], "key.a.b=1 must be true or false"),
    ("c", Literal["a", "b"], "key=c must be one of a, b"),
    (True, Literal[1], "key=true must be one of 1"),
    (5, Path, "key=5 must be a path"),
    ("", int, 'key="" must be a whole number'),
]


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=lambda value: str(value)[:30])
def test_what_fits_passes(value, annotation):
    check(value, annotation, "key")


@pytest.mark.parametrize(("value", "annotation", "line"), WRONG, ids=lambda value: str(text_of(value))[:40])
def test_what_does_not_fit_is_one_line(value, annotation, line):
    with pytest.raises(UserError) as caught:
        check(value, annotation, "key")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@dataclass
class Part:
    numbers: list[int]
    depth: int = 1


class Asks(Protocol):
    def ask(self) -> int: ...


@dataclass(kw_only=True)
class Method:
    version: ClassVar[int] = 1

    name: str
    part: Part
    asks: Asks | None = None
    unknown: Unknown = None
    _state: int = field(default=0, init=False)


class Plain:
    def __init__(self, name: str, steps: int = 3):
        self.name, self.steps = name, steps


class Greedy:
    def __init__(self, **settings: Any):
        self.settings = settings


@dataclass
class Handwritten:
    a: int
    z: str

    def __init__(self, a: str, z: int):
        self.a, self.z = len(a), str(z)


class Below(Method):
    def __init__(self, name: int, steps: Sequence[int] = ()):
        super().__init__(name=str(name), part=Part(list(steps)))


class BelowHandwritten(Handwritten):
    """The constructor of the class above."""


@dataclass
class Generated(Handwritten):
    """Fields again, of all classes above."""

    depth: int = 1


class New:
    def __new__(cls, name: str, steps: int = 3):
        return super().__new__(cls)


NODE = {"_target_": f"{__name__}.Part", "numbers": [1]}
PART = {"name": "x", "part": {"numbers": [1, 2]}}


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (PART, Method),
        (PART | {"part": NODE}, Method),
        (PART | {"part": Part([1])}, Method),
        (PART | {"asks": 3, "unknown": [1]}, Method),  # no types of a config
        (PART | {"_target_": "x", "_convert_": "all"}, Method),
        ({"_partial_": True}, Method),
        ({"name": "x"}, Plain),
        ({"name": 5, "anything": None}, Greedy),
        ({"a": "x", "z": 1}, Handwritten),
        ({"a": "x", "z": 1}, BelowHandwritten),
        ({"a": 1, "z": "x"}, Generated),
        ({"name": 1, "steps": [1]}, Below),
        ({"name": "x"}, New),
    ],
)
def test_settings_of_every_kind_of_class_pass(values, target):
    check_fields(values, target, "variant.")


@pytest.mark.parametrize(
    ("values", "target", "line"),
    [
        ({"name": "x"}, Method, "variant.part is missing; give variant.part=VALUE, or a value in the yaml"),
        (PART | {"prat": 1}, Method, "unknown key 'variant.prat'; did you mean 'part'?"),
        (PART | {"_state": 1}, Method, "unknown key 'variant._state'; "),
        (PART | {"version": 2}, Method, "unknown key 'variant.version'; "),
        (PART | {"part": {"numbers": [1, "x"]}}, Method, "variant.part.numbers[1]=x must be a whole number"),
        (PART | {"part": NODE | {"depth": None}}, Method, "variant.part.depth=null must be a whole number"),
        (PART | {"part": "x"}, Method, "variant.part=x must be keys with values"),
        (PART | {"part": {"_target_": f"{__name__}.Plain", "name": "x"}}, Method, "variant.part._target_="),
        (
            PART | {"part": {"_target_": "os.system", "command": "exit"}},
            Method,
            "variant.part._target_=os.system must be a Part",
        ),
        (PART | {"part": {"_target_": None}}, Method, "variant.part: _target_=null names no class; "),
        (PART | {"part": {"_target_": "."}}, Method, "variant.part: _target_=. names no class; "),
        (PART | {"part": {"_target_": "nowhere.X"}}, Method, "variant.part: cannot import nowhere.X (ModuleNotFoundError: "),
        ({"name": "x", "steps": "y"}, Plain, "variant.steps=y must be a whole number"),
        ({"a": 1, "z": 1}, Handwritten, "variant.a=1 must be a text"),
        ({"a": "x", "z": "y"}, Handwritten, "variant.z=y must be a whole number"),
        ({"a": "x", "z": "y"}, BelowHandwritten, "variant.z=y must be a whole number"),
        ({"a": "x", "z": "y"}, Generated, "variant.a=x must be a whole number"),
        ({"name": "x"}, Below, "variant.name=x must be a whole number"),
        ({"name": "x", "steps": "y"}, New, "variant.steps=y must be a whole number"),
        ({"name": 5}, New, "variant.name=5 must be a text"),
        ({"settings": [{"a": NODE | {"depth": 0.5}}]}, Greedy, ""),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(values, target, line):
    if target is Greedy:  # whose settings nothing is known of
        check_fields(values, target, "variant.")
        return
    with pytest.raises(UserError) as caught:
        check_fields(values, target, "variant.")
    assert str(caught.value).startswith(line)


def test_a_part_inside_what_may_be_anything_is_checked():
    with pytest.raises(UserError, match=r"key\[0\]\.a\.depth=0\.5 must be a whole number"):
        check([{"a": NODE | {"depth": 0.5}}], list[dict[str, Any]], "key")


def test_no_function_is_called_where_anything_may_stand():
    with pytest.raises(UserError, match=r"key\[0\]\._target_=os\.system is no class; name one"):
        check([{"_target_": "os.system", "command": "exit"}], list[Any], "key")


@pytest.mark.parametrize("annotation", [list[str], Sequence[str], tuple[str, ...], list[str] | None])
def test_a_text_that_a_list_has_twice_is_refused(annotation):
    check(["a", "b"], annotation, "key")
    with pytest.raises(UserError, match=r"key=\[a,b,a\] must be a list of different texts.*; leave out the second a"):
        check(["a", "b", "a"], annotation, "key")


def test_numbers_may_be_alike():
    check([0.9, 0.9], tuple[float, float], "betas")
    check([1, 1], list[int], "sizes")


def test_a_key_of_the_schema_says_what_it_wants():
    assert requirement_at("trainer.betas", Config) == "a list of 2 numbers"
    assert requirement_at("model.path", Config) == "a text or null"
    assert requirement_at("task.anything", Config) is None
    assert requirement_at("lr", Config) == "a number"


@pytest.mark.parametrize("value", ["a b", "0.5", "null", "x\ny", "é"])
def test_a_text_is_shown_as_one_line(value):
    assert "\n" not in text_of(value) and len(text_of(value * 100)) < 90
    assert (text_of(value)[0] == '"') == (value in ("0.5", "null"))


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_defaults_of_every_class_have_the_types_that_it_says(file):
    """A yaml of a part by itself; what it takes from another, or leaves open, is not there to be checked."""
    node = OmegaConf.to_container(OmegaConf.load(file))
    if "_target_" in node and "defaults" not in node:
        values = {key: value for key, value in node.items() if "${" not in str(value) and "???" not in str(value)}
        check_fields({**values, "_partial_": True}, target_of(node, "a yaml"), "")


@dataclass
class Texts:
    """Fields that a blank text may reach."""

    path: str | None = None
    name: str = "given"
    either: str | list[str] = "x"
    separator: str = " "
    stop: list[str] = field(default_factory=list)


@pytest.mark.parametrize("blank", ["", "  ", "\n\t"])
def test_a_blank_text_is_no_value_but_where_the_default_is_one(blank):
    check_fields({"separator": blank, "stop": [blank], "path": None}, Texts, "task.")
    for key, rest in (("path", ", or null"), ("name", ""), ("either", "")):
        with pytest.raises(UserError) as refusal:
            check_fields({key: blank}, Texts, "task.")
        assert str(refusal.value) == f'task.{key}="{blank}" is blank; give a text{rest}'.replace("\n\t", "\\n\\t")


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("int |", "SyntaxError"),
        ("list[1 / 0]", "ZeroDivisionError"),
        ("Literal", None),
        ("Decimal.nowhere", None),
        ("Unknown", None),
    ],
)
def test_an_annotation_that_is_no_type_is_named_and_one_for_type_checkers_is_passed_over(annotation, reason):
    class Part:
        def __init__(self, size):
            self.size = size

    Part.__init__.__annotations__["size"] = annotation
    if reason is None:
        check_fields({"size": "x"}, Part, "part.")
        return
    with pytest.raises(UserError, match=rf"Part.__init__: size is annotated with .*, which is no type \({reason}"):
        check_fields({"size": "x"}, Part, "part.")
