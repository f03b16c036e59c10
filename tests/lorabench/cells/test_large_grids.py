"""Cells of a large grid, whose common parts are checked and named once, against each cell on its own."""

import contextlib

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lorabench.cells import checks, plan
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.contributed import GIVEN
from lorabench.errors import UserError
from lorabench.schema import CONF
from sweeps.sweepers.composition import Composition
from sweeps.sweepers.grid import GridSweeper
from sweeps.sweepers.resolved import Resolved

OWN = """
from dataclasses import dataclass

from lorabench.errors import UserError
from lorabench.variants.lora import LoRA


@dataclass(kw_only=True)
class Odd(LoRA):
    width: int

    def check(self, shapes):
        super().check(shapes)
        if self.width == 3 and self.rank == 4:
            raise UserError("width=3 goes not with rank=4")
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A function from overrides to the configs of a grid, each composed alone, and all of them together."""
    own = tmp_path / "own"
    (own / "variant").mkdir(parents=True)
    (own / "odd_variant.py").write_text(OWN)
    (own / "variant" / "odd.yaml").write_text(
        "defaults: [lora]\n_target_: odd_variant.Odd\nname: odd\nwidth: ${odd_width:${batch_size}}\n"
    )
    OmegaConf.register_new_resolver("odd_width", lambda size: size // 2, replace=True)
    (tmp_path / "mine.csv").write_text("q,a\n" + "".join(f"{i}+1,{i + 1}\n" for i in range(60)))
    monkeypatch.syspath_prepend(str(own))
    monkeypatch.setenv(GIVEN, str(own))
    GlobalHydra.instance().clear()
    folders = create_config_search_path(str(CONF))
    folders.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
    hydra = Hydra.create_main_hydra2("test", folders)

    def make(*words):
        sweeper = GridSweeper(params={}, preflight=None, first_pass=[])
        sweeper.job_config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
        sweeper.composition = Composition(hydra.config_loader, sweeper.job_config)
        cells = sweeper.expand([f"output_dir={tmp_path / 'runs'}", *(word.replace("DIR", str(tmp_path)) for word in words)])
        return sweeper.composition.configs(cells), Resolved(sweeper.composition, cells)

    yield make
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    "words",
    [
        ["variant=lora,odd", "lr=1e-3,2e-3", "rank=4,8", "batch_size=4,8", "seed=1", "data_seed=null,1"],
        [
            "task=custom",
            "task.train=DIR/mine.csv",
            "task.columns={prompt:q,response:a}",
            "model.dtype=float32,auto",
            "seed=0,1",
            "lr=1,2",
        ],
        ["variant=lora,full", "variant.target_modules=[q_proj],[v_proj]", "subset=random,tsds", "train_fraction=0.5,1"],
        ["variant.dropout=0,0.1", "trainer.weight_decay=0,0.1", "model.weights=random,pretrained", "task.test_samples=5,null"],
    ],
    ids=" ".join,
)
def test_ids_and_the_plan_are_those_of_cells_on_their_own(grid, capsys, words):
    alone, together = grid(*words)
    cells = [Cell.of(config, current()) for config in alone]
    plan_of = plan.describe(cells)
    shared = plan._cells(together)
    assert [cell.id for cell in shared] == [cell.id for cell in cells] and len({cell.id for cell in cells}) > 7
    assert [cell.identity for cell in shared] == [cell.identity for cell in cells]
    without_speed = [line for line in plan.describe(shared).splitlines() if "estimated time" not in line]
    assert without_speed == [line for line in plan_of.splitlines() if "estimated time" not in line]


REFUSED = {
    "a value": ["lr=1e-3,-1", "seed=0,1"],
    "a type": ["+variant.extra=1", "seed=0,1"],
    "a field": ["variant=lora,pissa,odd", "trainer.betas=[0.9,0.95],[1.5,0.9]", "seed=0,1"],
    "a pair of axes": ["variant=full,lora", "rank=8,129", "lr=1e-3,2e-3"],
    "a pair inside a class of one's own": ["variant=lora,odd", "rank=8,4", "batch_size=4,6", "seed=0,1"],
    "steps and samples": ["variant=lora,adalora", "train_samples=800,8", "batch_size=4,8", "lr=1e-3,2e-3"],
    "samples and data": ["task=arithmetic,custom", "train_samples=50,70", "seed=0,1"],
    "a part and another": ["variant=lora,pissa", "model.quantization=null,nf4", "seed=0,1"],
    "no value": ["variant=lora,pissa", "variant.name=${task.judge},x", "seed=0,1"],
    "a missing one": ["variant=lora,pissa", "lr=1e-3,'???'", "seed=0,1"],
    "an unknown word": ["when_busy=wait,never", "lr=1e-3,-1"],
    "a name of another part": ["evaluator=hf,vllm", "evaluator.name=hf", "variant=lora,pissa"],
}


@pytest.mark.parametrize("only_plan", [True, False], ids=["plan", "run"])
@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_are_those_of_cells_on_their_own(grid, capsys, words, only_plan):
    if "custom" in " ".join(words):
        words = [*words, "+task.train=DIR/mine.csv", "+task.columns={prompt:q,response:a}"]
    alone, together = grid(*words, f"plan={str(only_plan).lower()}")
    ends = []
    for configs in (alone, together):
        try:
            ends.append(plan.preflight(configs, elsewhere=True))
        except Exception as error:
            ends.append((type(error), str(error)))
    assert ends[0] == ends[1]
    assert only_plan or isinstance(ends[0], tuple)


class Reads:
    """Settings of which one sees what was read."""

    def __init__(self, settings, read):
        self._settings, self._read = settings, read

    def __getattr__(self, name):
        self._read.add(name)
        return getattr(self._settings, name)


class ReadConfig(dict):
    """A config of which one sees what was read."""

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)


@pytest.mark.parametrize(
    "words",
    [
        ["variant=pissa", "trainer.gradient_checkpointing=true"],
        ["model.quantization=nf4", "probe=hessian", "variant=lora"],
        ["model.weights=random", "variant=full", "train_samples=20", "train_fraction=0.5"],
        ["model.dtype=auto", "probe=hessian", "variant=lora_fa"],
    ],
    ids=" ".join,
)
def test_a_check_reads_no_other_keys_than_decide_it(cell, monkeypatch, words):
    made = cell(*words)
    identity = made.identity
    for keys, check in dict.fromkeys((*checks.PLAN, *checks.RESOURCES)):
        read = set()
        config = ReadConfig(made.config)
        config.read = read
        each = Cell(config, made.session)
        each.__dict__["settings"] = Reads(made.settings, read)
        monkeypatch.setattr(Cell, "identity", property(lambda _, read=read: Identity(identity, read)))
        with contextlib.suppress(UserError):  # it has read what it refuses
            check(each)
        assert read <= set(keys), check


class Identity(dict):
    """An identity of which one sees what was read."""

    def __init__(self, identity, read):
        super().__init__(identity)
        self._read = read

    def __getitem__(self, key):
        self._read.add(key)
        return super().__getitem__(key)
