"""A next sweep: around the right cell, with its configuration, at learning rates that are not tried twice."""

import math
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from analysis.published import FOLDER as PUBLISHED
from analysis.questions.overrides import ROOT, overrides
from analysis.questions.suggestions import suggestions
from analysis.read.load import load_records
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.schema import register


def composed(words):
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return Cell.of(compose("config", list(words)), current()).config


def of(runs):
    """By variant, learning rates and the words of the command."""
    return {sweep.line.split("variant=")[1].split()[0]: (sweep.lrs, sweep.line) for sweep in suggestions(load_records(runs))}


def test_the_next_sweep_is_around_the_best_and_reaches_beyond_an_edge(runs, write):
    for lr, lora, pissa in [(1e-4, 0.2, 0.9), (1e-3, 0.9, 0.5), (1e-2, 0.3, 0.1)]:
        write("lora", lr, 0, lora)
        write("pissa", lr, 0, pissa)
    by_variant = of(runs)
    assert by_variant["lora"][0][2] == 1e-3 and len(by_variant["lora"][0]) == 5
    assert len(by_variant["pissa"][0]) == 7 and by_variant["pissa"][0][4] == 1e-4
    assert "model=tiny task=arithmetic variant=lora rank=8 batch_size=16 lr=3.162e-4" in by_variant["lora"][1]


def test_a_single_learning_rate_is_an_edge_on_both_sides(runs, write):
    write("lora", 1e-3, 0, 0.9)
    lrs, _ = of(runs)["lora"]
    assert len(lrs) == 9 and lrs[4] == 1e-3


def test_a_variant_of_ones_own_needs_its_folder(runs, write):
    write("lora", 1e-3, 0, 0.9)
    write("mine", 1e-3, 0, 0.9)
    assert of(runs)["mine"][1].endswith(" --config-dir DIR") and "--config-dir" not in of(runs)["lora"][1]


def test_the_edge_is_that_of_the_best_setting(runs, write):
    """Another batch size was tried at a higher learning rate."""
    for batch, lr, score in [(8, 1e-4, 0.1), (8, 1e-3, 0.2), (8, 1e-2, 0.1), (16, 1e-4, 0.5), (16, 1e-3, 0.9)]:
        write("lora", lr, 0, score, config={"batch_size": batch})
    lrs, _ = of(runs)["lora"]
    assert len(lrs) == 7 and lrs[2] == 1e-3


@pytest.mark.parametrize("axis", ["batch_size", "rank"])
@pytest.mark.parametrize("good", [4, 32])
def test_the_next_sweep_is_at_the_best_batch_size_and_rank(runs, write, axis, good):
    for value in (4, 32):
        for lr, score in [(1e-4, 0.2), (1e-3, 0.8), (1e-2, 0.3)]:
            write("lora", lr if value == good else 2 * lr, 0, score + (0.1 if value == good else 0), config={axis: value})
    lrs, line = of(runs)["lora"]
    assert f" {axis}={good} " in line and lrs[2] == 1e-3


def test_the_choice_is_made_on_validation(runs, write):
    for lr, test, validation in [(1e-4, 0.1, 0.1), (1e-3, 0.7, 0.9), (1e-2, 0.9, 0.7), (1e-1, 0.1, 0.1)]:
        write("lora", lr, 0, test, validation)
    assert of(runs)["lora"][0][2] == 1e-3


def test_learning_rates_tried_are_written_as_they_were(runs, write):
    for lr, score in [(3.5566e-4, 0.2), (6.3246e-4, 0.9), (1.1247e-3, 0.3)]:
        write("lora", lr, 0, score)
    write("pissa", 2.0001e-3, 0, 0.9)
    lrs, line = of(runs)["lora"]
    assert lrs == [2e-4, 3.5566e-4, 6.3246e-4, 1.1247e-3, 2.0001e-3]
    assert " lr=2e-4,3.5566e-4,6.3246e-4,1.1247e-3,2.0001e-3 " in line


CONFIGS = [
    [],
    ["train_samples=null"],
    ["trainer.warmup_ratio=0.1", "trainer.betas=[0.8,0.95]", "epochs=2"],
    ["variant=lora_ga", "variant.gamma=8", "rank=4", "variant.target_modules=[q_proj,v_proj]"],
    ["variant=rslora", "variant.alpha=16", "batch_size=64", "seed=0", "+variant.more=true"],
    ["model=gemma-3-1b", "model.dtype=float32", "model.weights=random", "task=math", 'task.path="/data/my \'math\'"', "task.sets=[gsm8k]"],
    ["evaluator=lm_eval", "evaluator.tasks=[arc_easy]", "evaluator.limit=10", "evaluator@evaluator.engine=vllm"],
    ["evaluator=vllm", "evaluator.enforce_eager=true", "task=code", "task.train.path=/data/code", "task.max_new_tokens=100"],
]  # fmt: skip


@pytest.mark.parametrize("given", CONFIGS, ids=" ".join)
def test_a_suggestion_trains_the_best_cell_at_other_learning_rates(runs, write, given):
    """All cells share these options, so that no name of a variant or setting tells of them."""
    for lr, score in [(1e-4, 0.2), (1e-3, 0.9), (1e-2, 0.3)]:
        config = composed([*given, f"lr={lr}", "output_dir=runs"])
        write(config["variant"]["name"], lr, 0, score, config=config)
    best = composed([*given, "lr=1e-3", "output_dir=runs"])
    ((lrs, line),) = of(runs).values()
    words = [word for word in shlex.split(line) if not word.startswith("lr=")]
    cell = composed([*words, "lr=1e-3", "output_dir=runs"])
    assert cell == best and lrs[2] == 1e-3
    assert all(word.split("=")[0].lstrip("+") in " ".join(given) for word in shlex.split(line)[7:])


def test_variants_of_different_options_have_each_their_own(runs, write):
    for alpha, warmup, score in ((8, 0.03, 0.5), (16, 0.03, 0.8), (16, 0.1, 0.9)):
        for lr in (1e-4, 1e-3, 1e-2):
            config = {"variant": {"name": "lora", "alpha": alpha}, "trainer": {"warmup_ratio": warmup}}
            write("lora", lr, 0, score, config=config)
    lines = [sweep.line.partition(" train_samples=2400")[2] for sweep in suggestions(load_records(runs))]
    assert " variant.alpha=16 trainer.warmup_ratio=0.1" in lines


def test_published_cells_say_how_many_samples_they_were_trained_on():
    samples = {title: line.partition("train_samples=")[2] for title, _, line in suggestions(load_records(PUBLISHED))}
    assert set(samples.values()) == {"100000", "null"} and samples["qwen3-0.6b · instruct"] == "null"


def test_words_are_quoted_for_a_shell_and_for_hydra():
    config = {"variant": {"name": "mine", "a": "x y; rm", "b": [1, "c"], "c": None, "d": 1e-08}, "trainer": "none"}
    assert overrides(config) == [
        "'++variant.a=\"x y; rm\"'", "'++variant.b=[1, \"c\"]'", "++variant.d=1e-08"
    ]  # fmt: skip


TEXTS = [
    *(
        "true",
        "False",
        "null",
        "NULL",
        "nan",
        "inf",
        "-inf",
        "3",
        "1e3",
        "true/x",
        "null-1",
        "a:b",
        "/data/x.y-z",
        "é",
        "",
        " a",
    ),
    *(
        "C:\\new\\",
        "\\",
        "\\\\",
        'say "no"',
        '\\"',
        '"\\\\"\\',
        "it's",
        "two\nlines",
        "a,b",
        "[a]",
        "{a: b}",
        "f(x)",
        "k=v",
        "$x",
    ),
]


@pytest.mark.parametrize("value", [
    *TEXTS, TEXTS, [{text: text} for text in ("mine", "a.b", "c-1")], [{"a": [1, {"b": "x, y"}], "c": {}}], [], [[]],
    False, None, 0, -3, 1e-08, 1e20, math.inf, -math.inf, [None, False, "null", "false", 2.0],
], ids=repr)  # fmt: skip
def test_hydra_reads_what_was_configured(value):
    (word,) = overrides({"trainer": {"name": "default", "max_grad_norm": value, "betas": [0.9, 0.999]}, "lr": 1e-3})
    (word,) = shlex.split(word)
    read = OverridesParser.create().parse_override(word)
    assert read.key_or_group == "trainer.max_grad_norm"
    assert read.value() == value and type(read.value()) is type(value)


@pytest.mark.parametrize("node", [
    *({"x": text} for text in ("${lr}", "a ${oc.env:HOME}", "???", "nul\0")),
    {"x": [{"true": 1}]}, {"x": [{"a b": 1}]}, {"x": [1, {"1": 1}]}, {"x": ["${lr}"]}, {"a b": 1}, {"a=b": 1}, {"a": {"": 1}},
], ids=repr)  # fmt: skip
def test_what_no_override_can_say_is_left_out_with_a_warning(caplog, node):
    assert overrides({"variant": {"name": "mine", **node, "last": 1}}) == ["++variant.last=1"]
    (message,) = caplog.messages
    assert message.startswith("left out of a suggested command, for no override can say it: variant.") and "\n" not in message


def test_published_means_have_no_seed():
    assert not any("seed" in sweep.line for sweep in suggestions(load_records(PUBLISHED)))


def test_the_seeds_of_the_curve_are_named_where_they_are_not_the_default(runs, write):
    for lr in (2e-4, 2e-3, 2e-2):
        for seed in (1, 2):
            write("lora", lr, seed, 0.5)
        write("pissa", lr, 0, 0.5)
    lora, pissa = (sweep.line for sweep in suggestions(load_records(runs)))
    assert " seed=1,2 " in lora and "seed" not in pissa


@pytest.mark.parametrize(
    "config",
    [
        {"task": {"name": "t" * 300}},
        {"model": {"name": "../../conf/config"}},
        {"variant": {"name": "a\nb"}},
        {"trainer": {"name": "n" * 300}},
        {"task": {"name": "arithmetic", "path": "${"}},
        {"top": "${"},
    ],
)
def test_a_config_that_no_command_can_say_costs_one_suggestion(runs, write, caplog, config):
    write("pissa", 2e-3, 0, 0.5)
    write("lora", 2e-3, 0, 0.5, config=config)
    sweeps = suggestions(load_records(runs))
    assert any("variant=pissa" in sweep.line for sweep in sweeps)
    assert len(caplog.messages) <= 1 and all("\n" not in message for message in caplog.messages)
    assert caplog.messages or len(sweeps) == 2
