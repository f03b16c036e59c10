"""lorabench verify: the same bits, and what differs where they are not."""

import json

import pytest
from hydra import compose, initialize_config_dir

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import current
from lorabench.errors import UserError
from lorabench.files import digest
from lorabench.schema import CONF
from lorabench.verify import __main__ as command
from lorabench.verify.cell import verify

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4", "lr=3e-3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"output_dir={tmp_path_factory.mktemp('runs')}", *SMALL])
    made = Cell.of(config, current())
    run(made)
    return made


@pytest.fixture
def changed(finished, tmp_path):
    """The finished cell with a record of other content."""

    def change(**content):
        folder = tmp_path / finished.folder.name
        folder.mkdir(parents=True)
        (folder / "completions.jsonl.gz").write_bytes((finished.folder / "completions.jsonl.gz").read_bytes())
        record = json.loads((finished.folder / "record.json").read_text())
        for key, value in content.items():
            record[key] = record[key] | value if isinstance(value, dict) else value
        record["id"] = digest(record["identity"])
        (folder / "record.json").write_text(json.dumps(record))
        return folder

    return change


def test_a_cell_comes_out_the_same_and_is_left_alone(finished, tmp_path):
    before = {file: file.read_bytes() for file in finished.folder.iterdir()}
    verdict = verify(finished.folder, tmp_path, finished.session)
    assert (verdict.different, verdict.machine) == ([], [])
    assert verdict.same[:3] == ["2 losses", "gradient norms", "trained weights"] and "8 completions" in verdict.same
    assert {file: file.read_bytes() for file in finished.folder.iterdir()} == before


def test_what_differs_is_named_with_the_machine(changed, finished, tmp_path):
    loss = finished.record()["training"]["loss"]
    other = [loss[0], [2, loss[1][1] + 1e-16 + abs(loss[1][1]) * 2**-50]]
    folder = changed(training={"loss": other, "weights_sha256": "0"}, versions={"torch": "1.0"}, device={"name": "abacus"})
    verdict = verify(folder, tmp_path / "again", finished.session)
    assert verdict.different == ["2 losses", "trained weights"] and "validation loss" in verdict.same
    assert f"{folder}: differs in 2 losses, trained weights; what differs between then and now: torch 1.0 -> " in str(verdict)
    assert "device name abacus -> " in str(verdict)


def test_a_record_of_before_has_no_sum_of_its_weights(changed, finished, tmp_path):
    training = {key: value for key, value in finished.record()["training"].items() if key != "weights_sha256"}
    folder = changed()
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"training": training}))
    verdict = verify(folder, tmp_path / "again", finished.session)
    assert verdict.different == [] and "trained weights" not in verdict.same


def test_what_cannot_be_verified_is_one_line(changed, finished, tmp_path):
    with pytest.raises(UserError, match="holds no finished cell"):
        verify(tmp_path / "nothing", tmp_path, finished.session)
    folder = changed(identity={"trainer": finished.identity["trainer"] | {"version": 0}})
    with pytest.raises(
        UserError, match=r"cannot be verified: trainer.version is not what it was; check out the commit of its record"
    ):
        verify(folder, tmp_path / "again", finished.session)


def test_the_command_draws_cells_and_ends_with_1_where_one_differs(changed, finished, capsys):
    command.main([str(finished.folder)])
    assert capsys.readouterr().out.startswith(f"{finished.folder}: the same bits: ")
    folder = changed(training={"weights_sha256": "0"})
    with pytest.raises(SystemExit) as ended:
        command.main(["--all", "--sample", "3", str(folder.parent)])
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith(f"{folder}: differs in trained weights; ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give the folders of cells"),
        (["--sample", "2", "runs"], "--sample N draws from all cells"),
        (["--all", "nothing"], "there is no finished cell in nothing"),
    ],
)
def test_a_wrong_command_is_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2
    assert line in capsys.readouterr().err


def test_smaller_micro_batches_where_memory_ran_out_are_those_of_the_cell(finished, tmp_path):
    small = Cell(finished.config | {"trainer": finished.config["trainer"] | {"micro_batch_tokens": 64}}, finished.session)
    small = Cell(small.config | {"output_dir": str(tmp_path / "small")}, finished.session)
    run(small)
    record = small.record()
    record["config"]["trainer"]["micro_batch_tokens"] = finished.config["trainer"]["micro_batch_tokens"]
    record["lowered"] = {"trainer.micro_batch_tokens": 64}
    (small.folder / "record.json").write_text(json.dumps(record))
    verdict = verify(small.folder, tmp_path / "again", finished.session)
    assert (verdict.different, verdict.machine) == ([], ["trainer.micro_batch_tokens was lowered to 64 on the way"])
    assert record["training"]["loss"] != finished.record()["training"]["loss"]
