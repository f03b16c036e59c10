"""``python -m hessian`` as a user runs it, on the embedded model."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import initialize_config_dir
from small_models import study_of

from hessian import __main__ as command_line
from hessian.run import Clock, order_of_layers, run
from lorabench import records
from lorabench.cell import Cell
from lorabench.data import Encoded
from lorabench.errors import UserError
from lorabench.run import run as train_cell

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SMALL = ["matrices=q_proj", "rank=2", "samples=4", "hessian.tol=1e-2"]


def study(folder, *words):
    return study_of(folder, *SMALL, *words)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_every_block_gets_its_record(tmp_path):
    found = run(study(tmp_path, "variants=[pissa,gralora]", "layers=[1,3]"))
    assert [(r["variant"], r["layer"]) for r in found] == [(v, n) for v in ("lora", "pissa", "gralora") for n in (1, 3)]
    for record in found:
        assert record["converged"]
        assert record["residual"] <= 1e-2 * record["lambda_max"]
        assert record["lambda_min"] < record["lambda_max"] <= record["upper_bound"]
        assert record["data"]["value"] == pytest.approx(record["lambda_max"], rel=1e-4)
        assert record["growth"][-1]["value"] == pytest.approx(record["lambda_max"], rel=1e-4)
        assert len(record["left_out"]) == record["sequences"] == 4
        assert record["ratio"] is None or record["ratio"]["value"] > 0
        assert record["path"] == ("AdapterHessian" if record["variant"] == "gralora" else "LeafHessian")
    assert found[0]["ratio"]["value"] == 1.0
    assert found[2]["lambda_max"] > 1.5 * found[0]["lambda_max"]  # PiSSA's blocks are sharper


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch):
    run(study(tmp_path, "variants=[pissa]", "layers=[3]"))
    before = files(tmp_path)
    [lora] = [name for name, text in before.items() if json.loads(text)["variant"] == "lora"]
    for name in before.keys() - {lora}:
        (tmp_path / name).unlink()
    run(study(tmp_path, "variants=[pissa]", "layers=[3]"))
    after = files(tmp_path)
    assert after[lora] == before[lora]
    assert after.keys() == before.keys()
    for name in after:
        one, other = json.loads(after[name]), json.loads(before[name])
        assert one["lambda_max"] == other["lambda_max"]
        assert one["ratio"] == other["ratio"]


def test_the_model_has_its_bits_again(tmp_path):
    found = study(tmp_path, "variants=[pissa,gralora,dora]", "layers=[2]")
    before = {name: value.clone() for name, value in found.base.model.state_dict().items()}
    run(found)
    after = found.base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_all_blocks_jointly(tmp_path):
    words = ["variants=[lora]", "layers=[2,3]", "matrices=[q_proj,v_proj]"]
    single = run(study(tmp_path, *words))
    [joint] = run(study(tmp_path, *words, "blocks=joint", "k=3"))
    assert joint["layer"] is None
    assert len(joint["eigenvalues"]) == 3
    assert joint["eigenvalues"] == sorted(joint["eigenvalues"], reverse=True)
    assert joint["lambda_max"] > 0.5 * max(record["lambda_max"] for record in single)  # other draws of A


def cell(folder, *overrides):
    from hydra import compose

    from lorabench import schema

    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = ["train_samples=16", "rank=2", "lr=5e-3", "task.validation_samples=2", "task.test_samples=2"]
        return Cell.of(compose("config", [*words, f"output_dir={folder}", *overrides]))


@pytest.mark.parametrize("variant", ["pissa", "randlora", "lora_ga"])
def test_along_training_and_at_its_end(tmp_path, variant):
    """The last measurement of a run is what its trained values give afterwards, and a look does not change the run."""
    words = ["hessian.every=1", "hessian.layers=[3]", "hessian.samples=4", "save_adapter=true", f"variant={variant}"]
    watched = cell(tmp_path / "watched", *words)
    train_cell(watched)
    record = records.read(watched.folder / "record.json")
    assert [row["step"] for row in record["sharpness"]] == [0, 1, 2]
    plain = cell(tmp_path / "plain", f"variant={variant}")
    train_cell(plain)
    assert plain.id == watched.id
    assert records.read(plain.folder / "record.json")["training"]["loss"] == record["training"]["loss"]

    [found] = run(study(tmp_path / "hessian", f"hessian.checkpoint={watched.folder}", "layers=[3]"))
    assert found["variant"] == variant
    last = record["sharpness"][-1]["blocks"][0]
    assert found["lambda_max"] == pytest.approx(last["lambda_max"], rel=2e-2)
    first = record["sharpness"][0]["blocks"][0]
    assert abs(first["lambda_max"] / last["lambda_max"] - 1) > 1e-3  # training has moved it


def finished(folder, *overrides):
    """The folder of a cell that looks trained."""
    config = cell(folder, *overrides).config
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps({"config": config}))
    (folder / "trained.safetensors").touch()
    return f"hessian.checkpoint={folder}"


def test_a_cell_is_measured_where_it_has_adapters(tmp_path):
    checkpoint = finished(tmp_path / "cell", "variant.target_modules=[q_proj,v_proj]")
    assert {place.matrix for place in study(tmp_path, checkpoint, "matrices=all").places} == {"q_proj", "v_proj"}
    with pytest.raises(UserError, match="matrices: no adapter on 'k_proj'; available: q_proj, v_proj"):
        study(tmp_path, checkpoint, "matrices=[k_proj]")


def test_a_cell_of_any_precision_and_dropout_can_be_measured(tmp_path):
    found = study(tmp_path, finished(tmp_path / "cell", "model.dtype=bfloat16", "variant.dropout=0.1"))
    assert found.base.model.dtype == torch.float32 and not found.base.model.training


def test_a_cell_without_its_start_is_refused(tmp_path):
    trained = cell(tmp_path / "cell", "save_adapter=true", "variant=pissa", "train_samples=4")
    train_cell(trained)
    (trained.folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model.safetensors is missing"):
        run(study(tmp_path / "hessian", f"hessian.checkpoint={trained.folder}", "layers=[3]"))


def test_what_the_cell_decides_is_not_used_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hessian.run.run", lambda study: None)
    checkpoint = finished(tmp_path / "cell")
    command_line.main([checkpoint, "rank=4", "layers=3", "trainer.max_length=100", f"output_dir={tmp_path}"])
    told = "not used, since the cell of hessian.checkpoint has its own: rank=4 trainer.max_length=100\n"
    assert capsys.readouterr().err == told
    command_line.main(["rank=4", f"output_dir={tmp_path}"])
    assert capsys.readouterr().err == ""


def test_a_full_gpu_is_one_line(tmp_path, monkeypatch, capsys):
    def full(study):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried")

    monkeypatch.setattr("hessian.run.run", full)
    with pytest.raises(SystemExit) as ended:
        command_line.main([f"output_dir={tmp_path}"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "lower hessian.memory_gb" in err and err.count("\n") == 1


def test_more_eigenvalues_than_a_block_has(tmp_path):
    with pytest.raises(UserError, match=r"k=600: the block of .*q_proj has 512 values"):
        run(study(tmp_path, "variants=[lora]", "layers=[3]", "k=600", "hessian.max_iter=700"))


def test_one_sequence_with_targets_has_no_interval(tmp_path):
    found = study(tmp_path)
    found.__dict__["order"] = [0, 1, 2, 3]
    data = [Encoded((5, 6, 7), 2), *[Encoded((5, 6, 7), 3)] * 3]
    found.__dict__["corpus"] = SimpleNamespace(encode=lambda indices: [data[i] for i in indices])
    with pytest.raises(UserError, match=r"one of 4 samples has target tokens within trainer.max_length="):
        found.examples(4)
    data[1] = data[0]
    assert len(found.examples(4)) == 4


@pytest.mark.parametrize("damage", ["half", "schema", "missing", "nan"])
def test_a_record_that_cannot_be_read_is_made_again(tmp_path, damage):
    words = ["variants=[pissa]", "layers=[3]"]
    run(study(tmp_path, *words))
    before = files(tmp_path)
    [lora] = [name for name, content in before.items() if json.loads(content)["variant"] == "lora"]
    record = json.loads(before[lora])
    if damage == "missing":
        del record["lambda_max"]
    changes = {"schema": {"schema_version": 0, "lambda_max": 1.0}, "nan": {"lambda_max": float("nan")}}
    (tmp_path / lora).write_text("{" if damage == "half" else json.dumps(record | changes.get(damage, {})))
    found = run(study(tmp_path, *words))
    assert found[0]["lambda_max"] == json.loads(before[lora])["lambda_max"]
    assert files(tmp_path).keys() == before.keys()


def test_order_of_layers(tmp_path):
    assert order_of_layers(study(tmp_path, "layers=auto")) == [0, 3, 1, 2]


def command(folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hessian", *SMALL, f"output_dir={folder}", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("matrices=qproj", "matrices: the model has no linear layer 'qproj'; did you mean 'q_proj'?"),
        ("layers=0,9", "layers: the model has no layer 9; available: 0 … 3, all, auto"),
        ("variants=pisa", "variant=pisa does not exist; did you mean 'pissa'?"),
        ("hessian.attention=flash", "hessian.attention=flash has no second derivative"),
        ("model.dtype=bfloat16", "model.dtype=bfloat16: second derivatives need float32"),
        ("hessian.memory_gb=1e-6", "does not suffice for one sequence of"),
        ("trainer.max_length=3", "no target token"),
        ("samples=1", "samples=1 must be a number of at least 2, or auto"),
        ("samples=10000000", "samples=10000000 is more than the"),
        ("k=100", "k=100 eigenvalues take more than hessian.max_iter=100 products"),
        ("blocks=both", "blocks=both is unknown; available: each, joint"),
        ("hessian.tool=1", "unknown key 'hessian.tool'; did you mean 'tol'?"),
        ("rnk=4", "unknown key 'rnk'; did you mean 'rank'?"),
        ("hessian.checkpoint=nowhere", "hessian.checkpoint=nowhere holds no record"),
        ("nonsense", "'nonsense' is not key=value"),
    ],
)
def test_bad_input_is_one_line(tmp_path, word, line):
    done = command(tmp_path, "layers=3", "variants=lora", word)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not done.stdout


def test_the_command_says_what_shows_its_records(tmp_path):
    done = command(tmp_path, "layers=2,3", "variants=lora,olora")
    assert done.returncode == 0, done.stderr
    shown = f"python -m analysis table {tmp_path} --kind sharpness"
    assert done.stdout == f"records: {tmp_path}; {shown} shows them\n"
    table = subprocess.run([sys.executable, *shlex.split(shown)[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert table.returncode == 0 and "olora" in table.stdout, table.stderr


def test_help_is_there():
    done = subprocess.run([sys.executable, "-m", "hessian", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "memory_gb" in done.stdout


def test_an_interruption_costs_one_block(tmp_path, monkeypatch):
    words = ["variants=[pissa]", "layers=[3]", "matrices=[q_proj,v_proj]"]
    calls = []

    def stop(self, one):
        calls.append(one)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "done", stop)
        with pytest.raises(KeyboardInterrupt):
            run(study(tmp_path, *words))
    assert len(files(tmp_path)) == 2
    assert len(run(study(tmp_path, *words))) == 4
