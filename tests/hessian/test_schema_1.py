"""Records of blocks that were measured before the identity knew the code of its parts."""

import json

import pytest
from small_models import study_of

from hessian.blocks import Block
from hessian.study.run import run
from lorabench.files import digest
from lorabench.records.code import code_of
from lorabench.schema import ModelConfig
from lorabench.variants.lora import LoRA
from lorabench.variants.olora import OLoRA

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAME = "model.layers.3.self_attn.q_proj"


def study(folder, *words):
    return study_of(folder, "matrices=q_proj", "layers=3", "rank=2", "samples=4", "hessian.tol=1e-2", *words)


def identity_of_schema_1(measured, variant, cls, **changed):
    """As the code of then wrote it into the record."""
    identity = {
        "model": "sha256:9b4d2c1953a5e8ba3a15e87909b046cd31926efb8eac6b4ee41b2b67dc888d86",
        "task": {
            "_target_": "lorabench.tasks.arithmetic.Arithmetic",
            "name": "arithmetic",
            "version": 1,
            "max_new_tokens": 40,
            "validation_samples": 200,
            "test_samples": 400,
            "fingerprint": measured.task.fingerprint(),
        },
        "max_length": 512,
        "rank": 2,
        "seed": 0,
        "samples": 4,
        "k": 1,
        "trained": None,
        "rule": {"tol": 0.01, "max_iter": 100, "attention": "math"},
        "precision": None,
        "variant": {
            "_target_": f"{cls.__module__}.{cls.__qualname__}",
            "name": variant,
            "rank": 2,
            "alpha": 2,
            "dropout": 0.0,
            "target_modules": TARGETS,
        },
        "name": NAME,
    }
    return identity | changed


def age(folder, measured, **changed):
    """Turn the records of a study into those of schema 1, with a λmax that nothing would give anew."""
    for path in list(folder.glob("*.json")):
        record = json.loads(path.read_text())
        cls = {"lora": LoRA, "olora": OLoRA}[record["variant"]]
        record["identity"] = identity_of_schema_1(measured, record["variant"], cls, **changed)
        record["id"] = digest(record["identity"])
        del record["variant_config"]
        path.unlink()
        (folder / f"{record['id']}.json").write_text(json.dumps(record | {"lambda_max": 1234.5}))


@pytest.fixture(autouse=True)
def loading_of_then(monkeypatch):
    """The mechanism is tested, not whether loading has changed since."""
    monkeypatch.setattr(ModelConfig, "version", 1)


@pytest.fixture
def forgotten_code():
    """Codes of classes are asked anew, before the test and after it."""
    code_of.cache_clear()
    yield
    code_of.cache_clear()


def test_a_block_is_not_measured_again(tmp_path, capsys):
    run(study(tmp_path, "variants=[olora]"))
    age(tmp_path, study(tmp_path, "variants=[olora]"))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    capsys.readouterr()
    records = run(study(tmp_path, "variants=[olora]"))
    assert [record["lambda_max"] for record in records] == [1234.5, 1234.5]
    assert capsys.readouterr().err == "2 of 2 blocks were done before\n"
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.json")} == before


def test_the_ids_are_those_of_then(tmp_path):
    """Names of files that the code of then left: ``tiny`` at rank 8 on 8 samples."""
    measured = study_of(tmp_path, "matrices=q_proj", "layers=0", "samples=8", "variants=[pissa,gralora]")
    blocks = [Block(variant, measured.places[0]) for variant in ("lora", "pissa", "gralora")]
    names = ["48cc3c0435c68fe1.json", "c832294c184c0ac1.json", "7762fa0ce2de6547.json"]
    assert not {measured.file(block).name for block in blocks} & set(names)
    for name in names:
        (tmp_path / name).touch()
    assert [measured.file(block).name for block in blocks] == names


def test_of_another_seed_it_is_not_used(tmp_path):
    measured = study(tmp_path, "variants=[olora]")
    run(measured)
    age(tmp_path, measured, seed=1)
    assert study(tmp_path, "variants=[olora]").record(Block("olora", measured.places[0])) is None


def test_after_the_methods_code_changed_it_is_not_used(tmp_path, monkeypatch, forgotten_code):
    run(study(tmp_path, "variants=[olora]"))
    age(tmp_path, study(tmp_path, "variants=[olora]"))
    code_of.cache_clear()
    monkeypatch.setattr(OLoRA, "version", 2)
    lora, olora = run(study(tmp_path, "variants=[olora]"))
    assert lora["lambda_max"] == 1234.5
    assert olora["lambda_max"] != 1234.5
    assert olora["identity"]["variant"]["code"]["lorabench.variants.olora.OLoRA"] == 2
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_another_variant_of_then_is_a_companion(tmp_path):
    run(study(tmp_path, "variants=[olora]"))
    age(tmp_path, study(tmp_path, "variants=[olora]"))
    later = study(tmp_path, "variants=[lora]")
    assert list(later.companions) == ["olora"]
    assert later.record(Block("olora", later.places[0]))["lambda_max"] == 1234.5
