"""λmax of trained cells: along their training, and at their end from what they left."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from small_models import CONF, study_of
from trained_record import trained_record

from hessian import __main__ as command_line
from hessian.study import schema
from hessian.study.run import run
from lorabench.cells.cell import Cell
from lorabench.cells.run import run as train_cell
from lorabench.cells.session import current
from lorabench.errors import UserError


def study(folder, *words):
    return study_of(folder, "matrices=q_proj", "samples=4", "hessian.tol=1e-2", *words)


def cell(folder, *overrides):
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = ["train_samples=16", "rank=2", "lr=5e-3", "task.validation_samples=2", "task.test_samples=2"]
        return Cell.of(compose("config", [*words, f"output_dir={folder}", *overrides]), current())


@pytest.mark.parametrize(
    ("variant", "words", "steps"),
    [("pissa", [], 2), ("randlora", [], 2), ("lora_ga", [], 2), ("relora", ["batch_size=4", "variant.restarts=1"], 4)],
)
def test_along_training_and_at_its_end(tmp_path, variant, words, steps):
    """The last measurement of a run is what its trained values give afterwards, and a look does not change the run."""
    probe = ["probe=hessian", "probe.every=1", "probe.layers=[3]", "probe.samples=4"]
    watched = cell(tmp_path / "watched", *probe, "save_adapter=true", f"variant={variant}", *words)
    train_cell(watched)
    record = watched.record()
    assert [row["step"] for row in record["sharpness"]] == list(range(steps + 1))
    plain = cell(tmp_path / "plain", f"variant={variant}", *words)
    train_cell(plain)
    assert plain.id == watched.id
    assert plain.record()["training"]["loss"] == record["training"]["loss"]

    [at_end] = run(study(tmp_path / "hessian", f"hessian.checkpoint={watched.folder}", "layers=[3]"))
    assert at_end["variant"] == variant
    last = record["sharpness"][-1]["blocks"][0]
    assert at_end["lambda_max"] == pytest.approx(last["lambda_max"], rel=2e-2)
    first = record["sharpness"][0]["blocks"][0]
    assert abs(first["lambda_max"] / last["lambda_max"] - 1) > 1e-3  # training has moved it


def finished(folder, *overrides):
    """The folder of a cell that looks trained."""
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps(trained_record(cell(folder, *overrides))))
    (folder / "trained.safetensors").touch()
    return f"hessian.checkpoint={folder}"


def test_a_cell_is_measured_where_it_has_adapters(tmp_path):
    checkpoint = finished(tmp_path / "cell", "variant.target_modules=[q_proj,v_proj]")
    assert {place.matrix for place in study(tmp_path, checkpoint, "matrices=all").places} == {"q_proj", "v_proj"}
    with pytest.raises(UserError, match="matrices: no adapter on 'k_proj'; available: q_proj, v_proj"):
        study(tmp_path, checkpoint, "matrices=[k_proj]")


def test_a_cell_of_any_precision_and_dropout_can_be_measured(tmp_path):
    measured = study(tmp_path, finished(tmp_path / "cell", "model.dtype=bfloat16", "variant.dropout=0.1"))
    assert measured.base.model.dtype == torch.float32 and not measured.base.model.training


def test_a_cell_without_its_start_is_refused(tmp_path):
    trained = cell(tmp_path / "cell", "save_adapter=true", "variant=pissa", "train_samples=4")
    train_cell(trained)
    (trained.folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model.safetensors is missing"):
        run(study(tmp_path / "hessian", f"hessian.checkpoint={trained.folder}", "layers=[3]"))


def test_what_the_cell_decides_is_not_used_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hessian.study.run.run", lambda study: None)
    checkpoint = finished(tmp_path / "cell")
    command_line.main([checkpoint, "rank=4", "layers=3", "trainer.max_length=100", f"output_dir={tmp_path}"])
    line = "not used, since the cell of hessian.checkpoint has its own: rank=4 trainer.max_length=100\n"
    assert capsys.readouterr().err == line
    command_line.main(["rank=4", f"output_dir={tmp_path}"])
    assert capsys.readouterr().err == ""
