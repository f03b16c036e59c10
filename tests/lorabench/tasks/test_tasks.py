from dataclasses import dataclass

import pytest

from lorabench.tasks.base import Example, Task, summarize


def test_summary_is_the_mean_over_sets_with_standard_errors(arithmetic):
    examples = [Example(str(i), "", set="a" if i < 4 else "b") for i in range(6)]
    result = summarize(arithmetic, examples, [{"score": x} for x in (1, 0, 0, 1, 1, 1)])
    assert result["mean"] == pytest.approx(0.75)
    assert result["sets"]["a"]["n"] == 4
    assert result["sets"]["a"]["stderr"] == pytest.approx((1 / 3 / 4) ** 0.5)  # sample variance 1/3
    assert result["sets"]["b"] == {"score": 1.0, "n": 2, "stderr": 0.0}


@dataclass(kw_only=True)
class Silent(Task):
    """A task that scores nothing yet."""

    name: str = "silent"
    max_new_tokens: int = 1
    validation_samples: int = 1

    def source_examples(self):
        return [Example("a", "")]

    def all_test_examples(self):
        self.reads = getattr(self, "reads", 0) + 1
        return [Example(str(i), "", set="ab"[i // 3]) for i in range(6)]

    def prompt(self, example):
        return ""

    def fingerprint(self):
        return ""


class Single(Silent):
    def score(self, example, completion):
        return float(completion == "yes")


class Together(Silent):
    def score_all(self, examples, completions):
        return [{"score": float(c == "yes"), "length": len(c), "said": c} for c in completions]


def test_a_task_scores_one_completion_or_many_and_has_both():
    example = Example("a", "")
    assert Single().score_all([example] * 2, ["yes", "no"]) == [{"score": 1.0}, {"score": 0.0}]
    assert Together().score(example, "yes") == 1.0
    with pytest.raises(TypeError, match="Silent implements neither score nor score_all"):
        Silent()


def test_texts_beside_a_score_have_no_mean():
    task, two = Together(), [Example("a", ""), Example("b", "")]
    assert task.summary(two, task.score_all(two, ["yes", "no"])) == {
        "score": 0.5,
        "n": 2,
        "stderr": 0.5,
        "length": 2.5,
    }


def test_the_test_sets_are_read_once():
    task = Single(test_samples=2)
    assert [example.id for example in task.test_examples()] == ["0", "1", "3", "4"]
    assert task.test_examples() is task.test_examples()
    assert task.reads == 1
