"""``lorabench tune`` on a CSV: a real answer by real processes, and the same again without training."""

import csv
import json
import re
import shlex

import pytest

ROWS = 60
WORDS = ("variant=lora,pissa", "rank=4", "lr=1e-3,4e-3,1.6e-2")


@pytest.fixture(scope="module")
def answered(tmp_path_factory, python):
    """The folder of a user whose question was answered with a small budget, and what was printed."""
    folder = tmp_path_factory.mktemp("tune")
    with (folder / "sums.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "answer"])
        rows.writerows([f"{n} pens and {n % 7} more are how many pens?", f"{n}+{n % 7}={n + n % 7}"] for n in range(ROWS))
    words = ["-m", "lorabench.tune", "data=sums.csv", *WORDS, "task.template=none", "--budget", "9", "--no-sharpness"]
    return folder, words, python(*words, cwd=folder)


def records(folder):
    return [json.loads(file.read_text()) for file in (folder / "tune/tiny-sums").glob("*/record.json")]


def test_it_answers_with_a_command(answered):
    folder, _, done = answered
    assert done.returncode == 0, done.stderr
    answer = (folder / "tune/tiny-sums/answer.txt").read_text()
    assert done.stdout.endswith(answer)
    assert "left out" not in done.stderr
    line = shlex.split(answer.strip().splitlines()[-1])
    assert line[:2] == ["lorabench", "run"]
    assert {"seed=0", "save_adapter=true", "output_dir=tune/tiny-sums/final", "task.train=sums.csv"} <= set(line)
    assert (folder / "tune/tiny-sums/report.html").is_file()


def test_the_budget_is_spent_and_not_exceeded(answered):
    folder, _, _ = answered
    cells = records(folder)
    assert len(cells) <= 9
    by_configuration = {}
    for cell in cells:
        config = cell["config"]
        by_configuration.setdefault((config["variant"]["name"], config["lr"]), set()).add(config["seed"])
    assert by_configuration["lora", 2e-4] == {0, 1}, "the default has the seeds of the finalists"
    assert sum(seeds == {0, 1} for seeds in by_configuration.values()) == 3


def test_the_recommended_is_the_best_on_validation(answered):
    folder, _, _ = answered
    line = (folder / "tune/tiny-sums/answer.txt").read_text().strip().splitlines()[-1]
    chosen = re.search(r"variant=(\w+)", line)[1], float(re.search(r" lr=(\S+)", line)[1])
    means = {}
    for cell in records(folder):
        config = cell["config"]
        means.setdefault((config["variant"]["name"], config["lr"]), []).append(cell["metrics"]["validation"]["mean"])
    finalists = {name: sum(scores) / 2 for name, scores in means.items() if len(scores) == 2}
    assert chosen == max(finalists, key=finalists.get)


def test_the_same_command_trains_nothing_and_says_the_same(answered, python):
    folder, words, first = answered
    times = {cell["id"]: cell["started"] for cell in records(folder)}
    again = python(*words, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert {cell["id"]: cell["started"] for cell in records(folder)} == times
    assert again.stdout == first.stdout


def test_the_last_command_trains_the_adapter(answered, python):
    from peft import PeftConfig

    folder, _, _ = answered
    line = shlex.split((folder / "tune/tiny-sums/answer.txt").read_text().strip().splitlines()[-1])
    done = python("-m", *line[:1], *line[2:], cwd=folder)
    assert done.returncode == 0, done.stderr
    (adapter,) = (folder / "tune/tiny-sums/final").glob("*/adapter")
    assert PeftConfig.from_pretrained(adapter).r in (4, 8)  # PiSSA's is twice its rank, as it changes the base
    card = (adapter / "README.md").read_text()
    assert str(folder) not in card
