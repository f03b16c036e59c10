"""The configs of a large grid against each cell composed alone, by Hydra."""

import re

import pytest
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeps.sweepers import resolved
from sweeps.sweepers.resolved import Resolved

GRIDS = {
    "axes": ["variant=lora,pissa,peft", "lr=1e-3,2e-3", "rank=4,8", "seed=0,1"],
    "knobs of variants": ["variant=lora,pissa", "variant.alpha=8,16.5", "variant.dropout=0.1,0", "variant.rank=4,8"],
    "resolvers of other keys": ["task=custom", "task.train=mine.csv,owner/set@0123,null", "lr=1e-3,2e-3", "variant=lora,dora"],
    "an interpolated part": ["task=custom,arithmetic", "model.dtype=auto,float32", "trainer.max_length=64,128", "seed=0,1"],
    "parts": ["subset=random,tsds", "evaluator=hf,vllm", "train_fraction=0.5,1", "seed=1,2"],
    "lists": ["trainer.betas=[0.9,0.95],[0.9,0.999]", "variant.target_modules=[q_proj],[v_proj]", "rank=4,8"],
    "mappings, and a key inside": [
        "task=custom",
        "task.columns={prompt:q,group:g},{prompt:p}",
        "task.columns.prompt=a,b",
        "lr=1,2",
    ],
    "a value in the place of a part": ["task=custom", "task.model=one,two", "model.dtype=auto,float32", "lr=1,2"],
    "a value behind none": ["task=custom", "+task.labels.a=no,yes", "task.train=a.csv,null", "lr=1,2"],
    "interpolated values": ["lr=0.5,0.25", "seed=3,4", "train_samples=${seed},${batch_size},7", "batch_size=2,3"],
    "a key made of another": ["variant.name=rank,epochs", "variant.alpha='${${variant.name}}'", "epochs=1,2", "rank=4,8"],
    "added keys": ["+variant.extra=1,2", "+variant.deep={a:1},{b:2}", "variant=lora,pissa", "rank=4,8"],
    "numbers and texts alike": ["variant.name=1,'1',true,'true',1.0", "seed=0,1"],
    "nothing": [],
}


def composed(grid, loader, cell):
    whole = loader.load_sweep_config(grid.job_config, list(cell))
    with read_write(whole), open_dict(whole):
        del whole["hydra"]
    return whole


@pytest.mark.parametrize("words", GRIDS.values(), ids=GRIDS.keys())
def test_each_config_is_the_one_that_hydra_composes(sweeper, words):
    grid, loader = sweeper
    grid.params = {}
    cells = grid.expand(words)
    configs = Resolved(grid.composition, cells)
    assert len(configs) == len(cells)
    wholes = grid.composition.configs(cells)
    wholes[len(cells) // 2 :: len(cells)] = [
        composed(grid, loader, cells[len(cells) // 2])
    ]  # the others follow its composition
    for whole, config in reversed(list(zip(wholes, configs, strict=True))):
        try:
            whole = OmegaConf.to_container(whole, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:  # who resolves it meets the same one
            with pytest.raises(type(error), match=re.escape(str(error))):
                OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        else:
            assert repr(config) == repr(whole)  # types and order, too


def test_derived_keys_and_the_number_of_a_cell(sweeper):
    grid, loader = sweeper
    grid.params, grid.derived = {"rank": "4,8", "mult": "1,2", "seed": "0,1"}, {"variant.alpha": "rank * mult"}
    cells = grid.expand([])
    configs = Resolved(grid.composition, cells)
    assert [config["variant"]["alpha"] for config in configs[::2]] == [4, 8, 8, 16]
    assert repr(configs[-1]) == repr(OmegaConf.to_container(composed(grid, loader, cells[-1]), resolve=True))


def test_what_cells_have_in_common_is_one_object_composed_and_resolved_once(sweeper, monkeypatch):
    grid, _ = sweeper
    wholes, plains = [], []
    whole, plain = grid.composition.whole, resolved._plain
    monkeypatch.setattr(grid.composition, "whole", lambda rest: wholes.append(rest) or whole(rest))
    monkeypatch.setattr(resolved, "_plain", lambda value: plains.append(value) or plain(value))
    grid.params = {}
    configs = list(Resolved(grid.composition, grid.expand(["variant=lora,pissa", "lr=range(1,21)", "seed=range(0,20)"])))
    assert len(configs) == 800 and wholes == [("variant=lora",), ("variant=pissa",)]
    assert len(plains) < 2 * (20 + 20 + len(configs[0]))  # a value of an axis, and of any other key, once for each variant
    distinct = {key: len({id(config[key]) for config in configs}) for key in configs[0]}
    assert {key: count for key, count in distinct.items() if count > 1} == {"variant": 2, "lr": 20, "seed": 20}


@pytest.mark.parametrize(
    "words",
    [
        ["task=custom", "task.model.name=one,two", "model.dtype=auto,float32"],
        ["lr=1e-3,abc"],
        ["no_such_key=1,2"],
        ["variant=pissa,lora", "variant.iterations=1,2"],
        ["seed=0,1", "trainer.max_length=x"],
    ],
    ids=" ".join,
)
def test_what_the_schema_does_not_allow_is_refused_with_the_same_words(sweeper, words):
    grid, _ = sweeper
    cells = grid.expand(words)
    with pytest.raises(OmegaConfBaseException) as alone:
        grid.composition.configs(cells)
    with pytest.raises(type(alone.value)) as raised:
        Resolved(grid.composition, cells)
    assert str(raised.value) == str(alone.value)


@pytest.mark.parametrize("word", ["model.revision=${oc.env:HOME}", "model.revision='${oc.${variant.name}:HOME}'"])
def test_a_config_that_reads_the_environment_is_given_unresolved(sweeper, word):
    """Who records it sees that."""
    grid, _ = sweeper
    grid.params = {}
    configs = Resolved(grid.composition, grid.expand([word, "variant.name=env", "seed=0,1"]))
    assert [OmegaConf.is_config(config) for config in configs] == [True, True]
    assert "${oc." in OmegaConf.to_container(configs[0], resolve=False)["model"]["revision"]
