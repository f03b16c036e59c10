"""A few of all keys with values that few of them can have: each is taken or refused in one line, as the table here says."""

import dataclasses
import random
import sys

import pytest
from hydra import compose, initialize_config_dir

from lorabench import schema
from lorabench.cells.plan import preflight
from lorabench.schema import CONF, Config, TrainerConfig
from lorabench.terminal.mistakes import explain
from lorabench.terminal.words import check_words

schema.register()
LONG, LARGE, GONE = "9" * 5000, "9" * 30, "~"
NASTY = ["null", "x", "-1", "0", "nan", "1e400", "[]", "{}", '""', "true", "8.5", LONG, "[x,1]", "{a: 1}", LARGE, GONE]

NOTHING: set[str] = set()
POSITIVE, FROM_0, BELOW_1 = {"8.5"}, {"0", "8.5"}, {"0"}  # a float of the schema may be large, too
ANY_WORD = {"x", "-1", "0", "nan", "1e400", "true", "8.5", LARGE}  # the schema makes a text of a number
YES_OR_NO = {"true", "0", "-1", LARGE}  # the schema takes whole numbers for true and false

TAKES = {
    "": {
        "lr": POSITIVE | {LARGE},
        "batch_size": NOTHING,
        "rank": NOTHING,
        "epochs": NOTHING,
        "seed": {"0", "-1"},
        "data_seed": {"null", "0", "-1"},
        "train_samples": {"null"},
        "train_fraction": NOTHING,
        "output_dir": ANY_WORD,
        "device": NOTHING,
        "save_adapter": YES_OR_NO,
        "cell_timeout": {"null", "8.5"},
        "when_busy": NOTHING,
        "model": NOTHING,
        "model.name": ANY_WORD,
        "model.hub": {"null"},
        "model.path": {"null"},
        "model.weights": NOTHING,
        "model.dtype": NOTHING,
        "task": NOTHING,
        "task._target_": NOTHING,
        "task.name": {"x"},
        "task.max_new_tokens": NOTHING,
        "task.validation_samples": NOTHING,
        "task.test_samples": {"null", GONE},
        "variant": NOTHING,
        "variant._target_": NOTHING,
        "variant.name": {"x"},
        "variant.rank": NOTHING,
        "variant.alpha": POSITIVE,
        "variant.dropout": BELOW_1,
        "variant.target_modules": NOTHING,
        "trainer": NOTHING,
        "trainer.max_length": NOTHING,
        "trainer.warmup_ratio": BELOW_1,
        "trainer.max_grad_norm": POSITIVE | {LARGE},
        "trainer.weight_decay": FROM_0 | {LARGE},
        "trainer.betas": NOTHING,
        "trainer.eps": FROM_0 | {LARGE},
        "trainer.micro_batch_tokens": NOTHING,
        "trainer.max_padding": BELOW_1,
        "trainer.checkpoint_minutes": FROM_0 | {LARGE},
        "trainer.gradient_checkpointing": YES_OR_NO,
        "plan_device": {"null"},
        "evaluator": NOTHING,
        "evaluator.name": NOTHING,
        "evaluator.batch_tokens": NOTHING,
        "subset": NOTHING,
        "probe": NOTHING,
        "tracker": NOTHING,
    },
    "variant=loft": {"variant.gamma": NOTHING, "variant.damping": POSITIVE},
    "probe=hessian": {
        "probe.every": {"null", GONE},
        "probe.samples": NOTHING,
        "probe.max_iter": NOTHING,
        "probe.attention": NOTHING,
    },
    "subset=tsds train_fraction=0.5": {"subset.neighbours": NOTHING, "subset.bandwidth": POSITIVE},
}
"""Which of the values a key may have, by the words with which a cell has it; all others are refused."""

DRAWN = 120


def every_case():
    """All keys with all values: the words of a cell, the one in question, and whether it is to be taken."""
    for words, keys in TAKES.items():
        for key, taken in keys.items():
            for value in NASTY:
                yield words.split(), f"~{key}" if value == GONE else f"{key}={value}", value in taken


def drawn():
    """All that are to be taken or at the edge of a range, and some of the others."""
    cases = list(every_case())
    always = [case for case in cases if case[2] or case[1].endswith(("=0", "=-1"))]
    return always + random.Random(20).sample([case for case in cases if case not in always], DRAWN)


def mistake_of(words, word, monkeypatch):
    """The line that refuses the word, None where it is taken."""
    monkeypatch.setattr(sys, "argv", ["lorabench", *words, word, "plan=true"])
    try:
        check_words([*words, word, "plan=true"], [CONF])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            made = compose("config", [*words, word, "plan=true"])
        preflight([made])
    except Exception as error:
        if (line := explain(error, CONF)) is None:
            raise
        return line
    return None


@pytest.mark.parametrize(
    ("words", "word", "right"), drawn(), ids=lambda of_case: of_case[:30] if isinstance(of_case, str) else ""
)
def test_a_value_is_taken_or_refused_in_one_line(words, word, right, monkeypatch):
    line = mistake_of(words, word, monkeypatch)
    assert (line is None) == right, line
    assert line is None or ("\n" not in line and len(line) < 500)


def test_every_key_of_the_schema_is_in_the_table():
    keys = {field.name for field in dataclasses.fields(Config)} | {
        f"trainer.{f.name}" for f in dataclasses.fields(TrainerConfig)
    }
    assert keys - TAKES[""].keys() == {"plan"}  # with which the cases themselves are tried
