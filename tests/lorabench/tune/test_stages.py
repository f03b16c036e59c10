"""What a budget is spent on, however often the command is interrupted: the stages with training that only counts."""

import random

import pytest

from lorabench.tune import stages
from lorabench.tune.answers import Candidate
from lorabench.tune.budget import shares
from lorabench.tune.processes import Stopped
from lorabench.tune.question import Question, number
from lorabench.tune.stages import Tuning


class Machine:
    """Commands of a sweep and of a search, whose cells have drawn scores, and that end after so many cells."""

    def __init__(self, seed):
        self.searched, self.finals, self.answers = {}, set(), 0
        self.seed, self.left = seed, None

    def cell(self, overrides, seed, searched):
        overrides = overrides | {"lr": number(float(overrides["lr"]))}
        name = (*sorted(overrides.items()), seed)
        if (searched and name in self.searched) or (not searched and name in self.finals):
            return
        if self.left == 0:
            raise Stopped(143)
        self.left = None if self.left is None else self.left - 1
        if searched:
            self.searched[name] = Candidate(overrides, random.Random(f"{self.seed}{name}").random(), 1)
        else:
            self.finals.add(name)

    def run(self, module, words, kept=False):
        assert (module, kept) == ("lorabench", False)
        values = dict(word.partition("=")[::2] for word in words if "=" in word)
        searched = values["output_dir"].endswith("searched")
        axes = {key: values[key].split(",") for key in ("variant", "rank", "lr")}
        if "hydra.sweeper.budget" not in values:
            for seed in values["seed"].split(","):
                self.cell({key: of_key[0] for key, of_key in axes.items()}, seed, searched)
            return ""
        draws = random.Random(self.seed)
        order = [{"variant": v, "rank": r, "lr": lr} for v in axes["variant"] for r in axes["rank"] for lr in axes["lr"]]
        draws.shuffle(order)
        for overrides in order[self.answers : int(values["hydra.sweeper.budget"])]:
            self.cell(overrides, "0", searched=True)
            self.answers += 1
        return ""


@pytest.fixture
def spent(monkeypatch, tmp_path):
    """A function that spends a budget on a machine, once."""

    def spend(machine, budget):
        monkeypatch.setattr(stages, "run", machine.run)
        monkeypatch.setattr(stages, "answered", lambda journal: machine.answers)
        ranked = lambda folder, axes: sorted(machine.searched.values(), key=lambda one: -one.validation)  # noqa: E731
        monkeypatch.setattr(stages, "candidates", ranked)
        tuning = Tuning(Question.of(["lr=1e-4,2e-4,4e-4,8e-4,1.6e-3,3.2e-3,6.4e-3", f"output_dir={tmp_path}"]))
        parts = shares(budget)
        best = stages.finalists(tuning._search(tuning.question.axes([]), parts))
        tuning._train([tuning.question.default, *(one.overrides for one in best)], range(1, parts.seeds + 1))

    return spend


@pytest.mark.parametrize("budget", [11, 17, 20, 30])
@pytest.mark.parametrize("seed", range(20))
def test_all_of_a_budget_is_spent_and_the_same_command_spends_nothing(spent, seed, budget):
    machine = Machine(seed)
    spent(machine, budget)
    first = {*machine.searched} | machine.finals
    assert len(machine.searched) == shares(budget).search
    assert len(machine.searched) + len(machine.finals) <= budget
    for _ in range(3):
        spent(machine, budget)
    assert {*machine.searched} | machine.finals == first


@pytest.mark.parametrize("seed", range(5))
def test_interruptions_cost_no_cell_and_change_nothing(spent, seed):
    whole = Machine(seed)
    spent(whole, 20)
    for first in range(20):
        machine = Machine(seed)
        machine.left = first
        for _ in range(30):
            try:
                spent(machine, 20)
                break
            except Stopped:
                machine.left = 1 + first % 3
        assert (machine.searched, machine.finals) == (whole.searched, whole.finals)


@pytest.mark.parametrize("seed", range(10))
def test_a_larger_budget_goes_on(spent, seed):
    machine = Machine(seed)
    spent(machine, 20)
    before = {*machine.searched}
    spent(machine, 30)
    assert before < {*machine.searched} and len(machine.searched) == shares(30).search
    assert len(machine.finals) <= shares(30).finals + 2 * shares(20).seeds
