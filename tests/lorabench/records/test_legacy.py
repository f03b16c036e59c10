"""Records of schema 1: found under the ids that they had, trusted where the code is still that of then, and scored again."""

import json
import shutil

import pytest

from lorabench.cells import run
from lorabench.cells.answers import read_completions, write_completions
from lorabench.cells.rescore import Rescoring
from lorabench.files import digest
from lorabench.generation.hf import HFGenerator
from lorabench.generation.vllm import VLLMGenerator
from lorabench.models.fingerprint import fingerprint_of_schema_1
from lorabench.records import legacy
from lorabench.records.code import code_of
from lorabench.records.legacy import legacy_id
from lorabench.schema import ModelConfig, TrainerConfig
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=6", "task.validation_samples=4"]
LM_EVAL = ["evaluator=lm_eval", "evaluator.tasks=[arc_easy]"]
HESSIAN = {"_target_": "hessian.along.Along", "every": None, "matrices": ["q_proj"], "samples": 32}
IDS = [  # as the last commit of schema 1 (249442b) gave them
    ([], "d753e80c526ea34f"),
    (["lr=3e-3", "seed=2", "rank=4", "epochs=2"], "a008eb074f3d0465"),
    (["variant=pissa"], "3decf49d425be9e5"),
    (["variant=loft"], "8e6417ffce9da3f2"),
    (["variant=randlora"], "81d5f6df87b0bc3b"),
    (["variant=gralora"], "baddb7e1d2f1d1cb"),
    (["variant=lora_ga"], "2887a907596dd8d5"),
    (["variant=dora"], "2f1773672b35cc02"),
    (["variant=rslora"], "ab2c25322e4f0a86"),
    (["variant=milora"], "420a6144ef8ee706"),
    (["variant=olora"], "4c0554c08ff28323"),
    (["variant=init_ab"], "f3876ea1e858fa90"),
    (["variant.alpha=16", "variant.dropout=0.1", "train_samples=null"], "7836a3b551ed773e"),
    (["train_fraction=0.5"], "fe5b871ac54b0321"),
    (["train_fraction=0.25", "subset=tsds"], "87a5d71c8747c9e6"),
    (["evaluator=vllm"], "afec134792f25116"),
    (LM_EVAL, "55db41c6ddaf5c99"),
    ([*LM_EVAL, "evaluator@evaluator.engine=vllm"], "3f77783e6bcf95bb"),
    (["task=math", "task.sets=[gsm8k]", "task.path={data}"], "39942ef54cada811"),
    (["model.dtype=bfloat16"], "0a26a3371f0f9cc2"),
    (["model.weights=random"], "926a744b829b6517"),
    (["trainer.max_length=64", "trainer.betas=[0.8,0.9]"], "9518af775004b5c0"),
    (["save_adapter=true", "trainer.micro_batch_tokens=512", "tracker=wandb", "probe=hessian"], "d753e80c526ea34f"),
]


@pytest.fixture(autouse=True)
def versions_of_then(monkeypatch):
    """What has been raised since, as it was: the mechanism is tested, not what became of it."""
    for cls in (ModelConfig, HFGenerator, VLLMGenerator):
        monkeypatch.setattr(cls, "version", 1)
    code_of.cache_clear()
    yield
    code_of.cache_clear()


@pytest.mark.parametrize(("overrides", "id_of_then"), IDS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_cell_knows_its_id_of_schema_1(cell, tmp_path, overrides, id_of_then):
    for split in ("train", "test"):
        rows = [{"question": f"q{i}", "answer": f"a\n#### {i}"} for i in range(5)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = cell(*(word.format(data=tmp_path) for word in overrides))
    assert legacy_id(made.config, made.identity, fingerprint_of_schema_1(made.model)) == id_of_then
    changed = {"task=math": "task=math", "variant.dropout=0.1": "dropout"}  # its split and its masks are other ones now
    assert legacy.changed_part(made.identity) == next((changed[word] for word in overrides if word in changed), None)
    assert made.id != id_of_then


def identity_of_then(config, identity, model):
    """Of a cell of one of the shipped tasks on samples that are all taken."""
    kept = ("lr", "batch_size", "rank", "seed", "train_samples", "epochs", "variant")
    trainer = {key: value for key, value in config["trainer"].items() if key not in legacy.TRAINER_KNOBS}
    model = {"fingerprint": fingerprint_of_schema_1(model), "dtype": config["model"]["dtype"]}
    task = {key: value for key, value in config["task"].items() if key != "typical_tokens"}
    task |= {"version": 1, "fingerprint": identity["task"]["fingerprint"]}
    return {key: config[key] for key in kept} | {"model": model, "task": task, "trainer": trainer, "evaluator": "hf"}


@pytest.fixture
def of_schema_1(cell):
    """A function that runs a cell and leaves it, and what was measured of its base, as schema 1 did."""

    def make(*overrides, **changed):
        made = cell(*SMALL, *overrides)
        run.run(made)
        record = made.record()
        config, identity = made.recorded_config, identity_of_then(made.config, made.identity, made.model)
        config["task"] = config["task"] | {"version": 1}
        config["hessian"] = HESSIAN
        del config["probe"]
        if changed.pop("before_proxies", False):
            del config["train_fraction"], config["subset"]
        training = {key: value for key, value in record["training"].items() if key not in ("lr", "groups", "optimizer")}
        record |= {"schema_version": 1, "id": digest(identity), "config": config, "identity": identity, "training": training}
        folder = made.folder.rename(made.folder.with_name(digest(identity)))
        (folder / "record.json").write_text(json.dumps(record | changed))
        base = made.folder.parent / "base"
        name = digest([identity["model"], identity["task"], "hf", identity["trainer"]["max_length"]])
        for file in list(base.iterdir()):
            file.rename(base / f"{name}{''.join(file.suffixes)}")
        return folder

    return make


def forbid(*_, **__):
    raise AssertionError("a cell that was trained must not be trained again")


def test_a_cell_of_schema_1_is_not_trained_again(of_schema_1, cell, monkeypatch, capsys):
    folder = of_schema_1()
    before = (folder / "record.json").read_bytes()
    monkeypatch.setattr(run, "train_cell", forbid)
    again = cell(*SMALL)
    assert again.folder == folder
    assert run.run(again) == json.loads(before)["validation_metric"]["value"]
    assert (folder / "record.json").read_bytes() == before
    assert "done before" in capsys.readouterr().err
    assert not (folder.parent / again.id).exists()


def test_what_was_trained_since_comes_first(of_schema_1, cell):
    folder = of_schema_1()
    shutil.copytree(folder, folder.with_name(cell(*SMALL).id))
    assert cell(*SMALL).folder.name == cell(*SMALL).id


def test_a_cell_that_failed_under_schema_1_is_tried_under_its_own_id(of_schema_1, cell):
    folder = of_schema_1(status="failed", metrics=None, error="MemoryError")
    again = cell(*SMALL)
    assert again.folder.name == again.id
    run.run(again)
    assert again.record()["schema_version"] == 2
    assert folder.exists()


def test_a_cell_of_schema_1_is_trained_anew_where_loading_changed(of_schema_1, cell, monkeypatch, capsys):
    folder = of_schema_1()
    monkeypatch.setattr(ModelConfig, "version", 2)
    capsys.readouterr()
    again = cell(*SMALL)
    assert again.folder.name == again.id
    assert capsys.readouterr().err == (
        f"{folder} has the same settings, but not the same code or files (model.version 1, now 2): "
        f"{again} is trained anew, in {again.id}\n"
    )


@pytest.mark.parametrize("changed", ["version", "trainer", "own"])
def test_code_that_changed_since_schema_1_is_said_in_one_line(of_schema_1, cell, monkeypatch, capsys, changed):
    folder = of_schema_1()
    again, what = cell(*SMALL), "trainer.version 1, now 2"
    if changed == "trainer":
        monkeypatch.setattr(TrainerConfig, "version", 2)
    else:
        what = "the source of own.LoRA" if changed == "own" else "lorabench.variants.lora.LoRA 1, now 2"
        code = {"own.LoRA": "sha256:0123"} if changed == "own" else {"lorabench.variants.lora.LoRA": 2}
        monkeypatch.setattr("lorabench.records.identity.code_of", lambda cls: code if cls is LoRA else legacy_versions(cls))
    capsys.readouterr()
    trained_anew = [cell(*SMALL), cell(*SMALL)]
    for made in trained_anew:
        assert made.folder.name == made.id != folder.name
    line = f"{folder} has the same settings, but not the same code or files ({what}): {again} is trained anew, in {trained_anew[0].id}"
    assert capsys.readouterr().err.splitlines() == [line]
    run.run(trained_anew[0])
    assert trained_anew[0].record()["schema_version"] == 2
    assert folder.exists()


def legacy_versions(cls):
    return {f"{cls.__module__}.{cls.__qualname__}": cls.version}


@pytest.mark.parametrize("before_proxies", [True, False])
def test_a_record_of_schema_1_is_scored_again(of_schema_1, cell, monkeypatch, capsys, before_proxies):
    folder = of_schema_1(before_proxies=before_proxies)
    first = json.loads((folder / "record.json").read_text())
    monkeypatch.setattr(run, "train_cell", forbid)
    capsys.readouterr()
    Rescoring(cell().session).rescore(folder)
    again = json.loads((folder / "record.json").read_text())
    assert again["metrics"] == first["metrics"]
    assert (again["schema_version"], again["id"], again["config"]) == (1, first["id"], first["config"])
    assert again["rescored"]["task_version"] == 1
    assert capsys.readouterr().err == ""
    rows = read_completions(folder / "completions.jsonl.gz")
    for row in rows:
        row["completion"] = f" The answer is {row['gold']}"
    write_completions(folder / "completions.jsonl.gz", rows)
    Rescoring(cell().session).rescore(folder)
    assert json.loads((folder / "record.json").read_text())["metrics"]["test"]["mean"] == 1


def test_the_task_of_then_is_named_when_it_is_scored_by_another_version(of_schema_1, cell, capsys):
    folder = of_schema_1()
    record = json.loads((folder / "record.json").read_text())
    for tree in (record["config"], record["identity"]):
        tree["task"]["version"] = 0
    record["id"] = digest(record["identity"])
    (folder / "record.json").write_text(json.dumps(record))
    Rescoring(cell().session).rescore(folder)
    assert "was made by version 0 of task=arithmetic, which is at 1 now" in capsys.readouterr().err
