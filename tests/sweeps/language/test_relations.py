"""Quantities through which several hyperparameters act together."""

import numpy as np
import pytest

from sweeps.errors import SweepError
from sweeps.language.prompts import Prompts, Text
from sweeps.language.relations import Relation
from sweeps.space import Space

TEXT = Text(axes={"lr": "", "rank": "", "dropout": ""}, relations={"step": Relation.of("step", "lr * rank^0.5")})


def test_a_relation_is_a_product_of_powers():
    relation = Relation.of("step", "lr * alpha / rank^0.5")
    assert relation.powers == {"lr": 1, "alpha": 1, "rank": -0.5}
    numbers = {"lr": np.array([1e-3, 2e-3]), "alpha": np.array([8.0, 4.0]), "rank": np.array([4.0, 4.0])}
    np.testing.assert_allclose(relation.values(numbers), [4e-3, 4e-3], rtol=1e-11)
    assert len(set(relation.values(numbers))) == 1  # 0.1 * 3 / 3 and the like are one value


@pytest.mark.parametrize("rule", ["", "lr", "2 * lr", "lr * lr", "lr * ", "lr + rank", "lr^x * rank", "lr^0 * rank"])
def test_what_is_no_relation_is_refused(rule):
    with pytest.raises(ValueError, match=r"relations\.step: "):
        Relation.of("step", rule)


@pytest.mark.parametrize(
    ("axes", "holds"),
    [
        ({"lr": ["1e-3", "1e-2"], "rank": ["4", "8"]}, True),
        ({"lr": ["1e-3", "1e-2"], "rank": ["4"]}, False),
        ({"lr": ["1e-3", "1e-2"]}, False),
        ({"lr": ["0", "1e-2"], "rank": ["4", "8"]}, False),
        ({"lr": ["1e-3", "auto"], "rank": ["4", "8"]}, False),
    ],
)
def test_it_is_told_where_its_keys_vary_and_are_positive_numbers(axes, holds):
    assert ("step" in Prompts(Space(axes), TEXT).keys) == holds


def test_the_keys_of_relations_come_first():
    space = Space({"dropout": ["0", "0.1"], "lr": ["1e-3", "1e-2"], "rank": ["4", "8"]})
    prompts = Prompts(space, TEXT)
    assert prompts.keys == ["lr", "rank", "step", "dropout"]
    np.testing.assert_allclose(prompts.columns["step"], space.columns["lr"] * space.columns["rank"] ** 0.5)
    assert prompts.lines(space.candidate((1, 1, 0))) == ["\nlr=1e-2", "\nrank=4", "\nstep=2e-2", "\ndropout=0.1"]


def test_a_relation_with_the_name_of_a_searched_key_is_refused():
    with pytest.raises(SweepError, match="relation step has the name of a key"):
        Prompts(Space({"lr": ["1e-3", "1e-2"], "step": ["4", "8"]}), TEXT)


@pytest.mark.parametrize(
    ("relations", "reason"),
    [
        ("{step: lr + rank}", "is no product"),
        ("{step: lr * rnk}", "rnk is no hyperparameter"),
        ("[lr]", "relations is no mapping"),
    ],
)
def test_a_text_with_a_wrong_relation_is_one_line(tmp_path, relations, reason):
    file = tmp_path / "mine.yaml"
    file.write_text(f"axes: {{lr: heat, rank: size}}\nrelations: {relations}\n")
    with pytest.raises(SweepError, match="neither one of lora, lora_paper, mlp nor a yaml") as caught:
        Text.read(str(file))
    assert reason in str(caught.value) and "\n" not in str(caught.value)
