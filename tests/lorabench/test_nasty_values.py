"""A few of all keys with values that none of them can have: each is a plan or one line, in this process."""

import random
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from lorabench import schema
from lorabench.cells.plan import preflight
from lorabench.schema import CONF
from lorabench.terminal.mistakes import explain

schema.register()
NASTY = ["null", "x", "-1", "0", "nan", "1e400", "[]", "{}", '""', "true", "8.5", "9" * 5000, "[x,1]", "{a: 1}", "9" * 30]
CELLS = [
    [],
    ["variant=randlora", "probe=hessian"],
    ["variant=loft", "tracker=wandb", "subset=tsds", "train_fraction=0.5"],
    ["variant=lora_ga", "evaluator=vllm", "task=chat"],
    ["variant=pissa", "evaluator=lm_eval", "evaluator.tasks=[arc_easy]", "task=math"],
]
EACH = 9


def keys(node: DictConfig, prefix: str = "") -> list[str]:
    """All keys below a node, dotted."""
    below = []
    for key in node:
        below.append(f"{prefix}{key}")
        value = None if OmegaConf.is_missing(node, key) else node[key]
        below += keys(value, f"{prefix}{key}.") if isinstance(value, DictConfig) else []
    return below


def composed(words):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", words)


def drawn():
    chance = random.Random(20)
    for words in CELLS:
        for key in chance.sample(keys(composed(words)), EACH):
            yield words, chance.choice([f"{key}={value}" for value in NASTY] + [f"~{key}"])


@pytest.mark.parametrize(("words", "word"), list(drawn()), ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_a_value_that_cannot_be_is_one_line(words, word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lorabench", *words, word, "plan=true"])
    line = "a plan"
    try:
        preflight([composed([*words, word, *(["plan=true"] if not word.strip("~").startswith("plan") else [])])])
    except Exception as error:
        line = explain(error, CONF)
        if line is None:
            raise
    assert "\n" not in line and len(line) < 500
