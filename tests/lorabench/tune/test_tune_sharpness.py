"""Learning rates that follow the sharpness at the start."""

import math

import pytest

from lorabench.tune.question import Question
from lorabench.tune.rates import first_rates
from lorabench.tune.sharpness import others, rates_of, ratios_of, steps

TABLE = "model,task,rank,variant,blocks,ratio,ratio_low\ntiny,a,8,lora,7,1.0,1.0\ntiny,a,8,pissa,7,31.6,9\ntiny,a,8,dora,0,,\n"


def test_a_ratio_is_read_where_there_is_one():
    assert ratios_of(TABLE) == {"lora": 1.0, "pissa": 31.6}


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 3.0, 10.0, 31.6, 90.0])
def test_the_rate_falls_by_the_root(ratio):
    assert 10 ** (steps(ratio) / 4) == pytest.approx(1 / math.sqrt(ratio), rel=10 ** (1 / 8) - 1 + 1e-6)


def test_only_other_starts_are_measured_and_only_where_it_is_cheap():
    tiny, large = Question.of([]).first, Question.of(["model=qwen3-0.6b", "device=cpu"]).first
    assert others(tiny, ["lora", "dora", "pissa", "olora"]) == ["pissa", "olora"]
    assert others(large, ["lora", "pissa"]) == []


def test_pissa_gets_lower_rates_than_lora(tmp_path):
    question, rates = Question.of([]), first_rates(128)
    listed = rates_of(question.first, question.cell_words, ["pissa"], rates, tmp_path)
    assert listed[-len(rates) :] == rates
    assert 2 <= len(listed) - len(rates) <= 4  # λmax is 9 to 153 times LoRA's there, so its root 3 to 12 times
    assert "pissa" in (tmp_path / "sharpness.txt").read_text()
