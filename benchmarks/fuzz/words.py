"""Words for the command lines of cells: keys of every config there is, with values that few of them can have."""

import re
from functools import cache
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lorabench.schema import CONF, register

GROUPS = ("model", "task", "variant", "subset", "trainer", "evaluator", "tracker", "probe", "hydra/sweeper")
"""Folders of configs of which one is chosen each."""

VALUES = [
    "null", "x", "-1", "0", "1", "2", "3", "nan", "inf", "-inf", "1e400", "1e-400", "8.5", "-0.0", "0x10", "1_000",
    "1e3", "1e30", "true", "false", "True", "on", "9" * 30, "9" * 5000, "1e" + "9" * 30, "0." + "3" * 400, str(2**31),
    str(2**63), str(2**63 - 1), "", '""', "''", "' '", "???", "[]", "{}", "[[]]", "[{}]", "[x,1]", "[x,x]", "[null]",
    "[0]", "[-1]", "[true]", "[1e400]", "['']", "{a: 1}", "{1: 2}", "{null: 1}", "{true: 1}",
    "{a: {b: [1, {c: null}]}}", "{_target_: os.getcwd}", "{_target_: builtins.dict}", "[" * 60 + "]" * 60,
    "[" * 3000 + "]" * 3000, "{a:" * 60 + "1" + "}" * 60, "[" + ",".join(map(str, range(3000))) + "]", "${lr}", "${x}",
    "${variant}", "${model.name}", "${task}", "${oc.env:HOME}", "${oc.env:NOWHERE}", "${oc.env:NOWHERE,1}",
    "${oc.env:NOWHERE,null}", "${oc.decode:'['}", "${oc.decode:'1'}", "${oc.select:lr}", "${oc.select:x,1}",
    "${oc.create:{a:1}}", "${oc.dict.keys:model}", "${oc.dict.values:model}", "${typed:a,b,c}", "${typed:a}",
    "${samples_of:1}", "${named_after:[1]}", "${hydra:job.name}", "${hydra.job.name}", "${now:%Y}", "${now:%Q}", "${.}",
    "${..}", "${.name}", "${..rank}", "${", "${}", "$", "$${x}", "\\${x}", "${nowhere:1}", "${${x}}", "a${lr}b",
    "${lr}${lr}", "${rank},${lr}", "1,2", "1e-3,2e-3", "1,", ",1", ",", "null,1", "x,y", "[1],[2]", "range(1,4)",
    "range(4,1)", "range(1,4,0)", "range(1,1e3,1)", "range(1,1000000000)", "interval(0,1)", "interval(1,0)",
    "interval(a,b)", "choice(1,2)", "choice()", "choice(1,1)", "glob(*)", "glob([*],exclude=*)", "shuffle(1,2)",
    "shuffle(range(1,4))", "sort(3,1)", "sort(a,1)", "int(x)", "int(1.5)", "float(1)", "str(1)", "bool(x)", "bool(1)",
    "tag(a,1,2)", "tag(interval(0,1))", "extend_list(1)", "extend_list()", "json_str(1)", "json_str({a: 1})", "é", "日本",
    "\udc80", "🎲", "'", '"', "[", "]", "{", "}", "(", "a b", " ", "\t", "\n", "a\nb", "a=b", "a:b", "a;b", "a@b", "\\",
    "#", "~", "~/x", "/", ".", "..", "../x", "/dev/null", "/dev/full", "/proc/self/mem", "path:", "path:/", "path:x",
    "hub:", "hub:a", "hub:a/b@c", "a" * 300, "é" * 150, "lora", "tiny", "auto", "all", "cpu", "cuda", "cuda:7",
    "cuda:-1", "mps", "meta", "float16", "nf4", "int8", "os.getcwd", "builtins.print", "lorabench.variants.lora.LoRA",
    "lorabench.nowhere", "nowhere.X", ".", "a.", ".a", "collections.abc", "random", "pretrained", "llama", "gpt2",
    "bert", "t5", "q_proj", "[q_proj]", "[q_proj,nowhere]", "lm_head", "[lm_head]", "embed_tokens",
]  # fmt: skip

TAILS = [
    ".x", ".0", "[0]", ".", "..", ".name", "._target_", ".${x}", "@", "@x", "@_global_", "@_here_", ":x", " ", "/x",
    "/", ".a.b.c", "-", "=", "\n",
]  # fmt: skip

FLAGS = [
    "-m", "--multirun", "--cfg=job", "--cfg", "-c", "all", "--info", "--info=defaults", "--resolve", "-p",
    "--package=model", "-h", "--help", "--hydra-help", "--version", "--run", "-r", "--shell-completion", "-sc",
    "install=bash", "--config-dir", "--config-dir=/nowhere", "--config-name=x", "-cn", "-cp", "--config-path=x",
    "--experimental-rerun=x", "--nope", "-x", "--", "-", "run", "sweep", "plan",
]  # fmt: skip


@cache
def choices() -> dict[str, dict[str, tuple[str, ...]]]:
    """By group, its choices with the keys that each has."""
    return {
        group: {
            file.relative_to(CONF / group).with_suffix("").as_posix(): tuple(_with_parents(group, file.stem, file))
            for file in sorted((CONF / group).rglob("*.yaml"))
        }
        for group in GROUPS
    }


def _with_parents(group: str, stem: str, file: Any) -> dict[str, None]:
    """Dotted keys of a yaml and of those of its own group that it stands on."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    keys: dict[str, None] = {}
    for parent in content.pop("defaults", []):
        if isinstance(parent, str) and (CONF / group / f"{parent}.yaml").is_file():
            keys |= _with_parents(group, parent, CONF / group / f"{parent}.yaml")
    return keys | dict.fromkeys(_flat(content, group.replace("/", ".")))


def _flat(node: Any, place: str) -> list[str]:
    if not isinstance(node, dict):
        return [place]
    below = [key for name, item in node.items() for key in _flat(item, f"{place}.{name}" if place else str(name))]
    return [place, *below] if place else below


@cache
def composed() -> tuple[list[str], list[str]]:
    """Dotted keys of the config of a cell, and those of Hydra beside it."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("config", return_hydra_config=True)
    keys = _flat(OmegaConf.to_container(whole), "")
    return [key for key in keys if not key.startswith("hydra")], [key for key in keys if key.startswith("hydra")]


@cache
def defaults() -> dict[str, str]:
    """Values of the config of a cell as one writes them, by key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole: Any = compose("config")
    plain = {key: OmegaConf.select(whole, key, throw_on_missing=False) for key in composed()[0]}
    written = {key: str(value) for key, value in plain.items() if isinstance(value, str | int | float)}
    return {key: text.lower() if text in ("True", "False") else text for key, text in written.items()} | _of_choices()


def _of_choices() -> dict[str, str]:
    """The same of what is chosen, as it stands in the yamls."""
    written = {}
    for group in GROUPS:
        for file in sorted((CONF / group).rglob("*.yaml")):
            content = OmegaConf.load(file)
            for key in _flat(OmegaConf.to_container(content), ""):
                value = OmegaConf.to_container(content)
                for name in key.split("."):
                    value = value.get(name) if isinstance(value, dict) else None
                if isinstance(value, str | int | float):
                    text = str(value)
                    written[f"{group.replace('/', '.')}.{key}"] = text.lower() if isinstance(value, bool) else text
    return written


def numbers() -> st.SearchStrategy[str]:
    """Whole numbers and others, small, large and none at all."""
    small, ints = st.integers(-3, 70), st.integers()
    return st.one_of(small, small, ints, st.floats(), st.floats(0, 1), st.floats(-1, 10)).map(str)


def texts() -> st.SearchStrategy[str]:
    """Any that a shell can pass on: no NUL, and bytes that are no UTF-8 as Python has them."""
    alphabet = st.one_of(st.sampled_from("abxyz019.,-_/\\'\"[]{}()$:=~@!#%&*+ \n\t"), st.characters(exclude_categories=("Cs",)))
    return st.text(alphabet.filter(lambda character: character != "\0"), max_size=12)


def plain_values() -> st.SearchStrategy[str]:
    """One value of any kind."""
    return st.one_of(st.sampled_from(VALUES), st.sampled_from(VALUES), numbers(), texts())


def values(keys: list[str]) -> st.SearchStrategy[str]:
    """Values of all kinds, and lists and mappings of them."""
    names = [name for of_group in choices().values() for name in of_group]
    one = st.one_of(
        plain_values(),
        plain_values(),
        st.sampled_from(keys).map(lambda key: f"${{{key}}}"),
        st.sampled_from(names),
    )
    short = one.filter(lambda text: len(text) < 200)
    return st.one_of(
        *[one] * 6,
        st.lists(short, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.lists(short, min_size=2, max_size=4).map(",".join),
        st.dictionaries(st.sampled_from(["a", "name", "_target_", "1", "x.y"]), short, max_size=3).map(
            lambda items: "{" + ",".join(f"{key}: {value}" for key, value in items.items()) + "}"
        ),
        texts().map(lambda text: f'"{text}"'),
        texts().map(lambda text: f"'{text}'"),
    )


def near(key: str) -> st.SearchStrategy[str]:
    """Values of the kind that a key has by default."""
    if key in GROUPS:
        return st.sampled_from(sorted(choices()[key]))
    default = defaults().get(key)
    if default is None:
        return st.one_of(numbers(), st.sampled_from(["true", "false", "null", "x", "[q_proj]", "[]"]))
    if default in ("true", "false"):
        return st.sampled_from(["true", "false"])
    if re.fullmatch(r"-?[0-9][-+.0-9e]*", default):
        return st.one_of(
            numbers(), st.sampled_from([default, f"{default}0", f"-{default}", f"{default},{default}1", f"{default}.0"])
        )
    return st.sampled_from([default, f"{default}x", f"'{default}'", f"{default},x", f"[{default}]", default.upper()])


@st.composite
def overrides(draw: st.DrawFn, keys: list[str]) -> str:
    """A word: a key that there is, or one near it, and a value."""
    hydras = composed()[1]
    key = draw(st.one_of(*[st.sampled_from(keys)] * 8, st.sampled_from(hydras), st.sampled_from(GROUPS), texts()))
    if draw(st.integers(0, 9)) == 0:
        key += draw(st.sampled_from(TAILS))
    elif draw(st.integers(0, 19)) == 0:
        key = f"hydra.sweeper.params.{key}"
    before = draw(st.sampled_from([""] * 14 + ["+", "++", "~", "+~", "~~", "+++"]))
    value = draw(near(key) if draw(st.booleans()) else values(keys))
    if before == "~" and draw(st.booleans()):
        return f"~{key}"
    return f"{before}{key}={value}"


@st.composite
def commands(draw: st.DrawFn) -> tuple[str, ...]:
    """The words behind ``python -m lorabench``: some parts chosen well, and up to four words that may be anything."""
    words, keys = [], list(composed()[0])
    for group in draw(st.lists(st.sampled_from(GROUPS), max_size=2, unique=True)):
        name = draw(st.sampled_from(sorted(choices()[group])))
        words.append(f"{group}={name}")
        keys += choices()[group][name] * 4
    several = draw(st.integers(0, 3)) == 0
    if several:
        words.append("-m")
        keys += [key for of_choice in choices()["hydra/sweeper"].values() for key in of_choice]
    count = draw(st.sampled_from([1, 1, 1, 1, 2, 2, 3]))
    words += [draw(overrides(keys)) for _ in range(count)]
    if draw(st.integers(0, 14)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(FLAGS)))
    return (*words, "plan=true")
