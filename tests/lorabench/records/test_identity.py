"""What decides a result is part of a cell's id, and nothing else is: by the marks of the fields, at every depth of the config."""

import copy
import json
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from lorabench.errors import UserError
from lorabench.files import digest
from lorabench.records.identity import decisive, identity
from lorabench.schema import CONF, CONTROL, KNOB, Config, ModelConfig, TrainerConfig, decides_by

PROXY = ["train_fraction=0.5"]  # so that the choice of samples decides
GROUPS = {"model": ModelConfig, "trainer": TrainerConfig} | dict.fromkeys(["task", "variant", "evaluator", "subset"])
"""Groups whose keys may decide, with the class of their fields where no ``_target_`` names it."""
KNOBS = {"probe", "tracker", "output_dir", "device", "save_adapter", "plan", "plan_device", "cell_timeout", "when_busy"}
YAMLS = sorted(f"{group}={file.stem}" for group in GROUPS for file in (CONF / group).glob("*.yaml"))
ENGINE = "evaluator=lm_eval evaluator@evaluator.engine=vllm"


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", [*PROXY, *overrides]), resolve=True)
    return config  # type: ignore[return-value]


def id_of(config: dict[str, Any]) -> str:
    """With data and weights that are always the same, so that the config alone counts."""
    return digest(identity(config, "weights", "data"))


def leaves(node: Any, *path: str):
    """Paths of all values that are no dicts."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, *path, key)
        else:
            yield (*path, key)


def changed(config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The config with another value there."""
    config = copy.deepcopy(config)
    node = config
    for key in path[:-1]:
        node = node[key]
    value = node[path[-1]]
    kind = type(value) if isinstance(value, bool | int | float | list | dict) else str
    others = {
        bool: lambda: not value,
        dict: lambda: value | {"more": 1},
        list: lambda: [*value, "more"],
        str: lambda: f"{value} changed",
    }
    node[path[-1]] = others.get(kind, lambda: value + 1)()
    return config


def decides(cls: Any, node: dict[str, Any], path: tuple[str, ...]) -> bool:
    """What the marks of the classes say of a value."""
    key, *deeper = path
    [mark] = [f.metadata.get("identity") for f in fields(cls) if f.name == key] if is_dataclass(cls) else [None]
    if mark is False:
        return False
    value = node[key]
    if callable(mark) and beside_parts(mark(value)) != beside_parts(mark(changed(node, path)[key])):
        return True
    if deeper and isinstance(value, dict) and "_target_" in value:
        return decides(get_class(value["_target_"]), value, tuple(deeper))
    return not callable(mark)


def beside_parts(value: Any) -> Any:
    """The value without the parts in it, whose own classes say what of them decides."""
    if not isinstance(value, dict):
        return value
    return None if "_target_" in value else {key: beside_parts(item) for key, item in value.items()}


@pytest.mark.parametrize("words", [*YAMLS, ENGINE])
def test_every_key_of_every_yaml_counts_unless_its_field_is_marked(words):
    config = composed(*words.split())
    before = id_of(config)
    group = words.split()[0].partition("=")[0]
    node = config[group]
    cls = GROUPS[group] or get_class(node["_target_"])
    for path in leaves(node):
        if path[-1] in ("_target_", "include_path"):  # a class that there is, a folder that there is: below
            continue
        differs = id_of(changed(config, (group, *path))) != before
        assert differs == decides(cls, node, path), ".".join((group, *path))


def test_where_rows_lie_does_not_count_and_what_they_are_does():
    config = composed("task=chat")
    before = id_of(config)
    for source in (("train",), ("test", "mt_bench"), ("references",), ("judge_prompts",)):
        for key, counts in (("path", False), ("files", False), ("hub", True), ("revision", True), ("rows", False)):
            assert (id_of(changed(config, ("task", *source, key))) != before) == counts, (source, key)


def test_the_window_counts_where_lm_eval_cuts_its_requests():
    for words, path, counts in (
        ("evaluator=vllm", ("evaluator", "max_model_len"), False),
        (ENGINE, ("evaluator", "engine", "max_model_len"), True),
        (ENGINE, ("evaluator", "engine", "kv_cache_gib"), False),
    ):
        config = composed(*words.split())
        assert (id_of(changed(config, path)) != id_of(config)) == counts, path


def test_every_key_on_top_counts_but_for_the_knobs():
    config = composed()
    for path in leaves({key: value for key, value in config.items() if key not in GROUPS}):
        assert (id_of(changed(config, path)) == id_of(config)) == (path[0] in KNOBS), path
    assert {key for key in config if key not in GROUPS} >= KNOBS


@pytest.mark.parametrize("words", [f"{g}={f.stem}" for g in ("probe", "tracker") for f in sorted((CONF / g).glob("*.yaml"))])
def test_what_looks_on_decides_nothing(words):
    assert id_of(composed(words)) == id_of(composed())


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("variant", "lorabench.variants.pissa.PiSSA"),
        ("task", "lorabench.tasks.math.Math"),
        ("evaluator", "lorabench.generation.vllm.VLLMGenerator"),
        ("subset", "lorabench.subsets.tsds.TSDS"),
    ],
)
def test_the_class_itself_counts(group, target):
    config = composed()
    changed = copy.deepcopy(config)
    changed[group]["_target_"] = target
    assert id_of(changed) != id_of(config)


def test_a_class_that_cannot_be_imported_is_one_line():
    config = composed()
    config["variant"]["_target_"] = "lorabench.variants.nothing.None"
    with pytest.raises(UserError, match=r"^lora: cannot import lorabench\.variants\.nothing\.None \(.*nothing") as raised:
        id_of(config)
    assert "\n" not in str(raised.value)


def test_two_evaluators_of_one_class_with_other_settings_are_two(monkeypatch):
    @dataclass
    class Own:
        name: str
        beams: int
        batch_tokens: int = field(metadata=KNOB)

    node = {"_target_": "lorabench.generation.hf.HFGenerator", "name": "own", "beams": 1, "batch_tokens": 8}
    monkeypatch.setattr("lorabench.annotations._locate", lambda name: Own)
    config = composed() | {"evaluator": node}
    assert id_of(config | {"evaluator": node | {"batch_tokens": 9}}) == id_of(config)
    assert id_of(config | {"evaluator": node | {"beams": 4}}) != id_of(config)
    nested = {"_target_": "own", "name": "outer", "engine": node}  # of a class without marks, everything counts
    more_beams = {"evaluator": nested | {"engine": node | {"beams": 4}}}
    assert id_of(config | {"evaluator": nested}) != id_of(config | more_beams)


def test_a_full_cell_is_the_same_whoever_would_choose_a_part():
    full, proxy = ["train_fraction=1"], ["train_fraction=0.25"]
    assert id_of(composed(*full)) == id_of(composed(*full, "subset=tsds")) == id_of(composed(*full, "subset.name=x"))
    assert len({id_of(composed(*words)) for words in (full, proxy, [*proxy, "subset=tsds"], PROXY)}) == 4


@dataclass
class Method:
    version: ClassVar[int] = 1

    name: str
    rank: int = 8
    later: float = 0.5
    more: dict[str, Any] = field(default_factory=dict)
    place: str = field(default="here", metadata=KNOB)
    control: bool = field(default=False, metadata=CONTROL)
    size: str = field(default="a", metadata=decides_by(len))


def test_a_field_that_comes_later_leaves_the_id_alone_at_its_default():
    before = decisive({"name": "x", "rank": 4}, Method)
    assert before == {"name": "x", "rank": 4}
    assert decisive({"name": "x", "rank": 4, "later": 0.5}, Method) == before
    assert decisive({"name": "x", "rank": 4, "later": 0.25}, Method) == before | {"later": 0.25}
    assert decisive({"name": "x", "rank": 8}, Method) == {"name": "x"}


def test_the_marks():
    values = {"name": "x", "place": "there", "control": True, "size": "abc", "unknown": [1]}
    assert decisive(values, Method) == {"name": "x", "size": 3, "unknown": [1]}
    assert decisive({"size": "xyz"}, Method) == decisive({"size": "abc"}, Method)


def test_no_field_of_the_schema_has_another_mark():
    for cls in (Config, ModelConfig, TrainerConfig):
        assert all(f.metadata in ({}, KNOB, CONTROL) for f in fields(cls))


# Whole cells, with their weights and data.


def test_knobs_and_paths_do_not_change_a_cell(cell, tmp_path):
    same = cell(
        f"output_dir={tmp_path / 'elsewhere'}",
        "device=cpu",
        "trainer.micro_batch_tokens=512",
        "trainer.max_padding=0.5",
        "trainer.checkpoint_minutes=1",
        "evaluator.batch_tokens=100",
        "task.typical_tokens=1",
        "when_busy=defer",
        "model.name=renamed",
        "probe=hessian",
        "tracker=wandb",
    )
    assert same.id == cell().id


@pytest.mark.parametrize(
    "override",
    [
        "lr=1e-3",
        "batch_size=4",
        "rank=4",
        "seed=1",
        "train_samples=100",
        "epochs=2",
        "variant=pissa",
        "variant.alpha=16",
        "variant.dropout=0.1",
        "trainer.max_length=64",
        "trainer.warmup_ratio=0.1",
        "task.test_samples=7",
        "model.dtype=bfloat16",
        "model.weights=random",
    ],
)
def test_everything_that_decides_the_result_changes_the_cell(cell, override):
    assert cell(override).id != cell().id


def test_spelling_of_a_number_does_not_change_a_cell(cell):
    assert cell("lr=0.002").id == cell("lr=2e-3").id == cell("lr=2.0e-03").id


def test_a_whole_number_is_the_same_cell_with_and_without_point(cell):
    assert cell("variant.alpha=16").id == cell("variant.alpha=16.0").id != cell("variant.alpha=16.5").id


def test_local_data_are_identified_by_content_not_by_place(cell, tmp_path):
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "test"):
            rows = [{"question": f"q{i}", "answer": f"a\n#### {i}"} for i in range(5)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = [cell("task=math", "task.sets=[gsm8k]", f"task.path={tmp_path / name}").id for name in "ab"]
    assert ids[0] == ids[1]
    (tmp_path / "b" / "test.jsonl").write_text(json.dumps({"question": "other", "answer": "a\n#### 1"}) + "\n")
    assert cell("task=math", "task.sets=[gsm8k]", f"task.path={tmp_path / 'b'}").id != ids[0]


def test_own_lm_eval_tasks_count_by_their_content(cell, tmp_path):
    def with_tasks(folder):
        return cell("evaluator=lm_eval", "evaluator.tasks=[own]", f"evaluator.include_path={folder}")

    for name in "ab":
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "own.yaml").write_text("task: own")
        (tmp_path / name / "deep" / "utils.py").write_text("x = 1")
    here = with_tasks(tmp_path / "a").id
    assert with_tasks(tmp_path / "b").id == here
    (tmp_path / "b" / "__pycache__").mkdir()
    (tmp_path / "b" / "__pycache__" / "utils.pyc").write_text("")
    assert with_tasks(tmp_path / "b").id == here
    ids = {here, cell("evaluator=lm_eval", "evaluator.tasks=[own]").id}
    for file, text in (("own.yaml", "task: own\n"), ("deep/utils.py", "x = 2"), ("rows.jsonl", "{}")):
        (tmp_path / "b" / file).write_text(text)
        ids.add(with_tasks(tmp_path / "b").id)
    assert len(ids) == 5
