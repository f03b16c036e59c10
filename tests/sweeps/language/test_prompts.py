"""Candidates in words."""

import pytest

from sweeps.errors import SweepError
from sweeps.language import prompts
from sweeps.language.prompts import Prompts, Text, scientific, write_value
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1e-4", "0.0010", "1.0E-02", "0.035", "1"], ["1e-4", "1e-3", "1e-2", "3.5e-2", "1e0"]),
        (["16.0", "128", "0.50"], ["16", "128", "0.5"]),
        (["0", "0.05", "0.1"], ["0", "0.05", "0.1"]),
        (["0", "0.001"], ["0", "1e-3"]),
        (["10", "1e5"], ["1e1", "1e5"]),
        (["-2e-3", "2"], ["-2e-3", "2e0"]),
        (["pissa", "lora"], ["pissa", "lora"]),
        (["nan", "inf", "3"], ["nan", "inf", "3"]),
    ],
)  # fmt: skip
def test_the_numbers_of_an_axis_are_written_in_one_way(texts, expected):
    assert [write_value(text, scientific(texts)) for text in texts] == expected
    lines = [Prompts(space, Text()).lines(i)[0] for space in [Space({"x": texts})] for i in range(len(texts))]
    assert lines == [f"\nx={text}" for text in expected]


def test_a_derived_axis_is_written_in_one_way():
    space = Space({"rank": ["1", "64"], "mult": ["0.001", "2"]}, {"alpha": "rank * mult"}, ["mult"])
    assert [Prompts(space, Text()).lines(i)[1] for i in range(4)] == [
        "\nalpha=1e-3",
        "\nalpha=2e0",
        "\nalpha=6.4e-2",
        "\nalpha=1.28e2",
    ]


def test_values_are_told_as_a_reader_knows_them():
    lines = Prompts(SPACE, Text.read("lora")).lines(SPACE.candidate((2, 1, 1, 0)))
    assert lines == [
        "\nrank=16", "\nalpha=32", "\nlr=1e-3", "\nstep=2e-3", "\nrank_step=8e-3", "\nbatch_size=8", "\nnoise_step=3.54e-4",
    ]  # fmt: skip
    assert Prompts(SPACE, Text.read("lora"), relations=False).keys == ["rank", "variant.alpha", "lr", "batch_size"]
    assert Prompts(SPACE, Text.read("lora"), domain=False).keys == ["rank", "variant.alpha", "lr", "batch_size"]


def test_the_head_explains_the_axes_that_there_are():
    text = Text.read("lora")
    head = Prompts(SPACE, text).head
    for key in ("rank", "variant.alpha", "lr", "batch_size"):
        assert text.axes[key].strip() in head
    assert text.axes["variant.dropout"].strip() not in head
    assert Prompts(SPACE, text, domain=False).head == "The setting:"


def test_each_key_has_its_explanation():
    with_domain, without = Prompts(SPACE, Text(axes={"lr": " peak "})), Prompts(SPACE, Text(axes={"lr": "peak"}), domain=False)
    assert with_domain.explanations == {"rank": "", "variant.alpha": "", "lr": "peak", "batch_size": ""}
    assert set(without.explanations.values()) == {""} and list(without.explanations) == without.keys


def test_a_text_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: Bake a cake.\naxes: {lr: the oven's heat}\nnames: {lr: heat}\n")
    prompts_of_file = Prompts(SPACE, Text.read(str(file)))
    assert prompts_of_file.head == "Bake a cake.\nthe oven's heat\nThe setting:" and "\nheat=1e-4" in prompts_of_file.lines(0)
    file.write_text("task: Bake a cake.\naxes:\n")
    assert Text.read(str(file)).axes == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("role: none\n", "role is none of task, axes, names"), ("axes: [lr]\n", "axes is no mapping"), ("axes: {lr: 3}\n", "axes.lr is no text"),
        ("names: {1: lr}\n", "names.1 is no text"), ("task: [bake]\n", "task is no text"), ("- lr\n", "it is no mapping"), ("", "it is no mapping"),
        ("axes: {lr: a\ntask: [\n", "expected"), (None, "No such file"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_said_in_one_line(tmp_path, content, reason):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SweepError, match="neither one of lora, lora_paper, mlp nor a yaml") as caught:
        Text.read(str(file))
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_the_shipped_text_tells_only_of_what_is_searched():
    text = Text.read("lora")
    assert "alpha" not in text.task and " rank" not in text.task
    for variant in ("lora", "rslora", "pissa", "milora", "olora", "init_ab", "lora_ga", "dora"):
        assert variant in text.axes["variant"].replace(",", " ").replace(".", " ").split()


def test_every_shipped_text_is_complete():
    for file in prompts.TEXTS.glob("*.yaml"):
        text = Text.read(file.stem)
        assert text.axes and set(text.names) | set(text.relations) <= set(text.axes)
        assert bool(text.task) != (file.stem == "lora_paper")  # paper 2's text says of no task


def test_two_lines_of_one_name_are_refused():
    with pytest.raises(SweepError, match=r"^two lines would both tell lr=: give one of them another name in the text's names$"):
        Prompts(SPACE, Text(names={"rank": "lr"}))


def test_keys_without_an_explanation_are_known():
    assert Prompts(SPACE, Text.read("lora")).unexplained == []
    half = Prompts(SPACE, Text(axes={"lr": "the step", "rnak": "a misspelling"}))
    assert half.unexplained == [key for key in half.keys if key != "lr"]
    assert Prompts(SPACE, Text(task="hi")).unexplained == Prompts(SPACE, Text.read("lora"), domain=False).unexplained == []
