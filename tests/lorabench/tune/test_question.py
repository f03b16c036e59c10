"""What the words of ``lorabench tune`` fix and leave open."""

import pytest

from lorabench.errors import UserError
from lorabench.schema import CONF, Config
from lorabench.terminal.mistakes import explain
from lorabench.tune.question import SETTINGS, Question, number, size


def test_nothing_given_is_lora_and_its_two_best_known_rivals():
    question = Question.of([])
    variants, ranks = tuple(SETTINGS["variant"]), tuple(map(str, SETTINGS["rank"]))
    assert question.axes([1e-3, 2e-3]) == {"variant": variants, "rank": ranks, "lr": ("1e-3", "2e-3")}
    assert question.cell_words == []
    assert question.default == {"variant": "lora", "rank": "8", "lr": "2e-4"}
    assert size(question.axes([1e-3, 2e-3])) == 12


def test_given_values_are_the_axes_and_all_else_stays():
    question = Question.of(["variant=pissa,lora", "rank=16", "lr=1e-3,2e-3", "batch_size=8,16", "epochs=2", "output_dir=there"])
    assert question.axes([5.0]) == {
        "variant": ("pissa", "lora"),
        "rank": ("16",),
        "lr": ("1e-3", "2e-3"),
        "batch_size": ("8", "16"),
    }
    assert question.cell_words == ["epochs=2"]
    assert question.default == {"batch_size": "8", "variant": "lora", "rank": "16", "lr": "2e-4"}
    assert str(question.folder) == "there"


def test_data_is_a_task(tmp_path):
    assert Question.of(["data=some.csv", "task.test=0.2"]).words == ("task=custom", "task.train=some.csv", "task.test=0.2")


def test_the_folder_is_called_by_model_and_task():
    assert str(Question.of([]).folder) == "tune/tiny-arithmetic"


def mistake(words):
    """The line of the words' mistake, None where there is none."""
    try:
        _ = Question.of(words).first
    except Exception as error:
        return explain(error, CONF, "config", Config)
    return None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data=a.csv", "task=math"], "data=a.csv and task=… are both data; give one"),
        (["seed=0,1"], "seed is tune's own: --seeds=N"),
        (["plan=true"], "plan is tune's own: lorabench plan"),
        (["train_fraction=0.1"], "train_fraction is tune's own"),
        (
            ["model=tiny,qwen3-0.6b"],
            "model=tiny,qwen3-0.6b: tune chooses settings of a method and its training; give one model",
        ),
        (["data_seed=0,1"], "data_seed=0,1: tune chooses settings"),
        (["task.max_new_tokens=8,16"], "task.max_new_tokens=8,16: tune chooses settings"),
        (["variant.target_modules=[q_proj],[v_proj]"], "variant.target_modules=[q_proj] is a list, which tune cannot choose"),
        (["hydra/sweeper=gp"], "hydra/sweeper=gp: tune chooses its own search"),
        (["lr=interval(1e-4,1e-3)"], "lr needs a list of values, not an interval"),
        (["variant=lorra"], "variant=lorra does not exist; did you mean 'lora'"),
        (["lrr=1e-3"], "unknown key 'lrr'"),
    ],
)
def test_words_that_cannot_be_are_one_line(words, line):
    assert line in mistake(words)


def test_numbers_have_no_digit_too_many():
    assert [number(lr) for lr in (2e-4, 0.00063246, 1e-3, 0.5, 12.0)] == ["2e-4", "6.3246e-4", "1e-3", "5e-1", "1.2e1"]


def test_a_mistake_stays_the_users_error():
    with pytest.raises(UserError):
        Question.of(["data=a.csv", "task=math"])


def test_what_decides_results_makes_another_question():
    digests = {
        words: Question.of(words.split()).digest
        for words in ("", "epochs=2", "trainer.max_length=64", "train_samples=50", "task.test_samples=50", "batch_size=16")
    }
    assert len(set(digests.values())) == len(digests)
    for words in ("device=cpu", "trainer.micro_batch_tokens=512", "tracker=none", "variant=pissa", "rank=4", "lr=1e-3,2e-3"):
        assert Question.of([words]).digest == digests[""], words
    assert Question.of(["batch_size=16,8"]).digest == Question.of(["batch_size=8,16,32"]).digest
