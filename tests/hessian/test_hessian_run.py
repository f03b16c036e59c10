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
from small_models import study_of

from hessian import __main__ as command_line
from hessian.study.run import Clock, order_of_layers, run
from lorabench.errors import UserError
from lorabench.training.data import Encoded

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["matrices=q_proj", "rank=2", "samples=4", "hessian.tol=1e-2"]


def study(folder, *words):
    return study_of(folder, *SMALL, *words)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_every_block_gets_its_record(tmp_path):
    records = run(study(tmp_path, "variants=[pissa,gralora]", "layers=[1,3]"))
    assert [(r["variant"], r["layer"]) for r in records] == [(v, n) for v in ("lora", "pissa", "gralora") for n in (1, 3)]
    for record in records:
        assert record["converged"]
        assert record["residual"] <= 1e-2 * record["lambda_max"]
        assert record["lambda_min"] < record["lambda_max"] <= record["upper_bound"]
        assert record["data"]["value"] == pytest.approx(record["lambda_max"], rel=1e-4)
        assert record["growth"][-1]["value"] == pytest.approx(record["lambda_max"], rel=1e-4)
        assert len(record["left_out"]) == record["sequences"] == 4
        assert record["ratio"] is None or record["ratio"]["value"] > 0
        assert record["path"] == ("AdapterHessian" if record["variant"] == "gralora" else "LeafHessian")
    assert records[0]["ratio"]["value"] == 1.0
    assert records[2]["lambda_max"] > 1.5 * records[0]["lambda_max"]  # PiSSA's blocks are sharper


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
        anew, first = json.loads(after[name]), json.loads(before[name])
        assert anew["lambda_max"] == first["lambda_max"]
        assert anew["ratio"] == first["ratio"]


def test_the_model_has_its_bits_again(tmp_path):
    measured = study(tmp_path, "variants=[pissa,gralora,dora]", "layers=[2]")
    before = {name: value.clone() for name, value in measured.base.model.state_dict().items()}
    run(measured)
    after = measured.base.model.state_dict()
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


def test_a_full_gpu_is_one_line(tmp_path, monkeypatch, capsys):
    def full(study):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried")

    monkeypatch.setattr("hessian.study.run.run", full)
    with pytest.raises(SystemExit) as ended:
        command_line.main([f"output_dir={tmp_path}"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "lower hessian.memory_gb" in err and err.count("\n") == 1


def test_more_eigenvalues_than_a_block_has(tmp_path):
    with pytest.raises(UserError, match=r"k=600: the block of .*q_proj has 512 values"):
        run(study(tmp_path, "variants=[lora]", "layers=[3]", "k=600", "hessian.max_iter=700"))


def test_one_sequence_with_targets_has_no_interval(tmp_path):
    short = study(tmp_path)
    short.__dict__["order"] = [0, 1, 2, 3]
    data = [Encoded((5, 6, 7), 2), *[Encoded((5, 6, 7), 3)] * 3]
    short.__dict__["corpus"] = SimpleNamespace(encode=lambda indices: [data[i] for i in indices])
    with pytest.raises(UserError, match=r"one of 4 samples has target tokens within trainer.max_length="):
        short.examples(4)
    data[1] = data[0]
    assert len(short.examples(4)) == 4


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
    records = run(study(tmp_path, *words))
    assert records[0]["lambda_max"] == json.loads(before[lora])["lambda_max"]
    assert files(tmp_path).keys() == before.keys()


def test_order_of_layers(tmp_path):
    assert order_of_layers(study(tmp_path, "layers=auto")) == [0, 3, 1, 2]


def once(*words):
    """The last word of each key: a key that is given twice is refused."""
    return list({word.partition("=")[0]: word for word in words}.values())


def command(folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hessian", *once(*SMALL, f"output_dir={folder}", *words)],
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
        ("layers=0,9", "layers: the model has no layer 9; available: 0 … 3, all"),
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
def test_bad_input_is_one_line(tmp_path, capsys, word, line):
    with pytest.raises(SystemExit) as ended:
        command_line.main(once(*SMALL, f"output_dir={tmp_path}", "layers=3", "variants=lora", word))
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert line in err
    assert err.count("\n") == 1, err
    assert not out


def test_a_process_ends_with_that_line(tmp_path):
    done = command(tmp_path, "nonsense")
    assert done.returncode == 2
    assert done.stderr == "lorabench: 'nonsense' is not key=value; see python -m hessian --help\n"
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

    def stop(self, block):
        calls.append(block)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "count", stop)
        with pytest.raises(KeyboardInterrupt):
            run(study(tmp_path, *words))
    assert len(files(tmp_path)) == 2
    assert len(run(study(tmp_path, *words))) == 4
