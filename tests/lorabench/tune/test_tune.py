"""``lorabench tune`` on a CSV: a real answer by real processes, and the same again without training."""

import csv
import json
import re
import shlex

import pytest

ROWS = 60
WORDS = ("variant=lora,pissa", "rank=4", "lr=5e-4,1e-3,4e-3,1.6e-2")


@pytest.fixture(scope="module")
def answered(tmp_path_factory, python):
    """The folder of a user whose question was answered with a small budget, and what was printed."""
    folder = tmp_path_factory.mktemp("tune")
    with (folder / "sums.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "answer"])
        rows.writerows([f"{n} pens and {n % 7} more are how many pens?", f"{n}+{n % 7}={n + n % 7}"] for n in range(ROWS))
    words = ["-m", "lorabench.tune", "data=sums.csv", *WORDS, "task.template=none", "--budget", "12", "--no-sharpness"]
    return folder, words, python(*words, cwd=folder)


def records(folder):
    """Of the finalists and the default, and of the search."""
    return [
        [json.loads(file.read_text()) for file in (folder / "tune/tiny-sums").glob(f"{below}/record.json")]
        for below in ("*", "searched/*")
    ]


def key(cell):
    return cell["config"]["variant"]["name"], cell["config"]["lr"]


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
    finals, searched = records(answered[0])
    assert len(searched) == 6 and {cell["config"]["seed"] for cell in searched} == {0}
    assert len(finals) == 6
    seeds = {}
    for cell in finals:
        seeds.setdefault(key(cell), set()).add(cell["config"]["seed"])
    assert len(seeds) == 3 and all(of_one == {1, 2} for of_one in seeds.values()), "none that chose it"
    assert ("lora", 2e-4) in seeds


def test_the_recommended_is_the_best_on_validation(answered):
    line = (answered[0] / "tune/tiny-sums/answer.txt").read_text().strip().splitlines()[-1]
    chosen = re.search(r"variant=(\w+)", line)[1], float(re.search(r" lr=(\S+)", line)[1])
    means = {}
    for cell in records(answered[0])[0]:
        means[key(cell)] = means.get(key(cell), 0) + cell["metrics"]["validation"]["mean"]
    assert chosen == max(means, key=means.get)


def test_finalists_are_the_best_of_the_search_and_the_best_of_the_other_kind(answered):
    finals, searched = records(answered[0])
    ranked = sorted(searched, key=lambda cell: -cell["metrics"]["validation"]["mean"])
    best = key(ranked[0])
    rival = next(key(cell) for cell in ranked if (key(cell)[0] == "lora") != (best[0] == "lora"))
    assert {key(cell) for cell in finals} == {best, rival, ("lora", 2e-4)}


def test_the_same_command_trains_nothing_and_says_the_same(answered, python):
    folder, words, first = answered
    times = [{cell["id"]: cell["started"] for cell in cells} for cells in records(folder)]
    again = python(*words, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert [{cell["id"]: cell["started"] for cell in cells} for cells in records(folder)] == times
    assert again.stdout == first.stdout


def test_another_question_gets_another_folder(answered, python):
    folder, words, _ = answered
    done = python(*words, "epochs=2", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds the answer to another question (epochs=2); give this one output_dir=DIR" in done.stderr


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
