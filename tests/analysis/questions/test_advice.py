"""Suggested learning rates, from records of blocks."""

import itertools
import json
import math
import shlex
from contextlib import suppress

import pytest
from hydra import compose, initialize_config_dir

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.questions.advice import advice, grid, published_quotients, text
from analysis.questions.overrides import ROOT
from analysis.read.blocks import load_blocks
from lorabench.schema import register

LOW, HIGH = 1e-3, 4e-3


def write(folder, variant, layer, ratio, lam=None, matrix="q_proj", ends=None, **fields):
    """Leave a record as `python -m hessian` does; LoRA's λmax is 0.2, its ratio 1 without doubt."""
    identity = {"rank": 8, "seed": 0, "samples": 40, "variant": {"name": variant, "alpha": 8}} | fields.pop("identity", {})
    lam = 0.2 * (ratio or 1) if lam is None else lam
    low, high = ends or ((1, 1) if variant == "lora" else (0.9 * (ratio or 0), 1.1 * (ratio or 0)))
    record = {
        "schema_version": 1,
        "kind": "hessian_block",
        "model": "tiny",
        "task": "arithmetic",
        "variant": variant,
        "layer": layer,
        "layers": 30,
        "matrix": matrix,
        "rank": identity["rank"],
        "seed": 0,
        "lambda_max": lam,
        "lambda_min": -0.1,
        "converged": True,
        "data": {"value": lam, "stderr": 0.1, "low": 0.0, "high": 1.0},
        "ratio": ratio and {"value": ratio, "low": low, "high": high, "log_stderr": 0.05},
        "growth": [],
        "path": "LeafHessian",
        "checkpoint": None,
        "identity": identity | {"name": f"{layer}.{matrix}"},
        "finished": "2026-03-01T10:00:00+00:00",
    } | fields
    name = "-".join(
        map(str, (variant, layer, matrix, *identity["variant"].values(), identity["rank"], record["checkpoint"] is None))
    )
    (folder / f"{name}.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path):
    """Ten layers; PiSSA's ratios are 6, 7, … 15: median 10.5, interval from the second to the ninth."""
    folder = tmp_path / "records"
    folder.mkdir()
    for layer in range(10):
        write(folder, "lora", layer, 1.0)
        write(folder, "pissa", layer, 6.0 + layer)
    return folder


def advised(folder):
    return {row.variant: row for row in advice(load_blocks(folder), LOW, HIGH)}


def test_ranges_follow_the_ratio_and_are_widened_by_its_interval(folder):
    rows = advised(folder)
    assert list(rows) == ["lora", "pissa"]
    assert rows["lora"].direct == rows["lora"].root == (LOW, HIGH)
    pissa = rows["pissa"]
    assert (pissa.ratio.value, pissa.ratio.low, pissa.ratio.high, pissa.blocks) == (10.5, 7, 14, 10)
    assert pissa.direct == pytest.approx((LOW / 14, HIGH / 7))
    assert pissa.root == pytest.approx((LOW / math.sqrt(14), HIGH / math.sqrt(7)))
    assert pissa.sharpest == pytest.approx(15)
    assert pissa.grid == grid(LOW / 14, HIGH / math.sqrt(7))


def test_the_data_widen_the_range_where_they_are_the_larger_doubt(folder):
    for layer in range(10):
        write(folder, "olora", layer, 10.0, ends=(2.0, 50.0))
    row = advised(folder)["olora"]
    assert (row.ratio.value, row.ratio.low, row.ratio.high) == (10, 2, 50)
    assert row.direct == pytest.approx((LOW / 50, HIGH / 2))


def test_a_flatter_variant_gets_higher_learning_rates(folder):
    for layer in range(10):
        write(folder, "gralora", layer, 0.25, ends=(0.25, 0.25), path="AdapterHessian")
    row = advised(folder)["gralora"]
    assert row.direct == pytest.approx((4 * LOW, 4 * HIGH)) and row.root == pytest.approx((2 * LOW, 2 * HIGH))
    assert row.grid == grid(2 * LOW, 4 * HIGH)
    assert "compares different parameters: gralora." in text(load_blocks(folder), LOW, HIGH)


def test_the_sharpest_is_compared_over_common_blocks(folder):
    write(folder, "lora", 20, 1.0, lam=40.0)
    write(folder, "pissa", 21, 6.0, lam=600.0)
    assert advised(folder)["pissa"].sharpest == pytest.approx(15)


def test_the_grid_is_paper_1s():
    assert grid(1.1247e-3, 6.3246e-3) == [1.1247e-3, 2e-3, 3.5566e-3, 6.3246e-3]
    assert grid(1.2e-3, 6e-3) == [1.1247e-3, 2e-3, 3.5566e-3, 6.3246e-3]  # its ends are outside
    assert grid(1.1e-3, 6.5e-3) == [6.3246e-4, 1.1247e-3, 2e-3, 3.5566e-3, 6.3246e-3, 1.1247e-2]
    assert grid(2e-5, 2e-5) == [2e-5]
    assert grid(2e-6, 2e-2)[::4] == [2e-6, 2e-5, 2e-4, 2e-3, 2e-2]


def overrides(printed):
    return {line.split()[0]: line for line in printed.splitlines() if line.startswith("variant=")}


def test_overrides_are_valid(folder, capsys):
    for layer in range(10):
        write(folder, "rslora", layer, 2.0, identity={"variant": {"name": "rslora", "alpha": 8}})
        write(folder, "rslora", layer, 4.0, identity={"variant": {"name": "rslora", "alpha": 16}})
    assert main(["advise", str(folder), "--lr", "1e-3,4e-3"]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("variant=")]
    assert lines[0] == "variant=lora rank=8 lr=6.3246e-4,1.1247e-3,2e-3,3.5566e-3,6.3246e-3"
    assert lines[2].startswith("variant=rslora variant.alpha=16 rank=8 lr=")
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for line in lines:
            *words, lr = shlex.split(line)
            for value in lr.removeprefix("lr=").split(","):
                config = compose("config", [*words, f"lr={value}"])
                assert (
                    config.lr == float(value) and config.rank == 8 and config.variant.name == words[0].removeprefix("variant=")
                )


def test_text(folder):
    lines = text(load_blocks(folder), LOW, HIGH).splitlines()
    assert lines[:6] == [
        "tiny · arithmetic",
        "rank 8 · 40 samples · LoRA's learning rates 1e-3..4e-3",
        "",
        "variant  blocks  ratio to LoRA  sharpest        lr ∝ 1/λ       lr ∝ 1/√λ",
        "-------  ------  -------------  --------  --------------  --------------",
        "lora         10              1         1      1e-3..4e-3      1e-3..4e-3",
    ]
    assert lines[6].split() == ["pissa", "10", "10.5", "[7,", "14]", "15", "7.1e-5..5.7e-4", "2.7e-4..1.5e-3"]
    assert "LoRA's range is 0.0002/λmax to 0.0008/λmax of its median block." in text(load_blocks(folder), LOW, HIGH)


def test_few_blocks_have_a_range_for_an_interval(tmp_path):
    for layer, variant in itertools.product(range(3), ("lora", "pissa")):
        write(tmp_path, variant, layer, 1.0 if variant == "lora" else 4.0 + layer)
    assert advised(tmp_path)["pissa"].direct == pytest.approx((LOW / 6, HIGH / 4))
    assert " 5 (4, 6) " in text(load_blocks(tmp_path), LOW, HIGH)


def test_a_grid_too_wide_to_help_is_told(folder):
    assert "too coarsely" not in text(load_blocks(folder), LOW, HIGH)
    for layer in range(10):
        write(folder, "olora", layer, 30.0, ends=(1, 900))
    assert "(over 2 decades): olora;" in text(load_blocks(folder), LOW, HIGH)


def test_no_ratio_no_advice(folder):
    write(folder, "milora", 0, None, lam=-0.1)
    printed = text(load_blocks(folder), LOW, HIGH)
    assert "No advice, since there is no ratio of two positive λmax: milora." in printed
    assert "variant=milora" not in overrides(printed)
    assert next(line for line in printed.splitlines() if line.startswith("milora")).split() == ["milora", "0", *"----"]


def test_what_did_not_converge_is_told(folder):
    assert "did not converge" not in text(load_blocks(folder), LOW, HIGH)
    write(folder, "milora", 0, 1.0, converged=False)
    assert "did not converge, and may be larger: milora 1;" in text(load_blocks(folder), LOW, HIGH)


def test_joint_blocks_alone_are_refused(tmp_path):
    write(tmp_path, "lora", None, 1.0, matrix="joint", path="AdapterHessian")
    with pytest.raises(AnalysisError, match="measure them with blocks=each"):
        text(load_blocks(tmp_path), LOW, HIGH)


def test_joint_blocks_are_told_and_not_mixed_in(folder):
    before = advised(folder)
    write(folder, "lora", None, 1.0, matrix="joint", path="AdapterHessian")
    write(folder, "pissa", None, 77.0, matrix="joint", path="AdapterHessian")
    assert advised(folder) == before
    printed = text(load_blocks(folder), LOW, HIGH)
    assert "Ratio to LoRA of many matrices as one block: pissa 77." in printed
    assert "different parameters" not in printed


def test_each_setting_has_its_own_advice_and_trained_weights_none(folder):
    for layer in range(10):
        write(folder, "lora", layer, 1.0, identity={"rank": 64})
        write(folder, "pissa", layer, 2.0, identity={"rank": 64})
        write(folder, "lora", layer, None, checkpoint="runs/abc", identity={"trained": "x"})
    printed = text(load_blocks(folder), LOW, HIGH)
    assert printed.count("tiny · arithmetic") == 2 and "checkpoint" not in printed
    assert "variant=pissa rank=64 lr=3.5566e-4," in printed


@pytest.mark.parametrize("kept", ["pissa", "negative", "trained"])
def test_without_lora_there_is_no_advice(tmp_path, capsys, kept):
    write(tmp_path, "pissa", 0, 5.0)
    if kept == "negative":
        write(tmp_path, "lora", 0, None, lam=-1.0)
    if kept == "trained":
        write(tmp_path, "lora", 0, None, checkpoint="runs/abc", identity={"trained": "x"})
    assert main(["advise", str(tmp_path), "--lr", "1e-3,1e-2"]) == 2
    error = capsys.readouterr().err
    assert "no block of lora at its start with a positive λmax" in error and error.count("\n") == 1


@pytest.mark.parametrize("word", ["1e-3", "1e-2,1e-3", "0,1e-3", "a,b", "1e-4,1e-3,1e-2", "nan,1", "1e-3,inf", "-1e-3,1e-3"])
def test_a_wrong_range_is_one_line(folder, capsys, word):
    assert main(["advise", str(folder), f"--lr={word}"]) == 2
    error = capsys.readouterr().err
    assert "is not LOW,HIGH" in error and error.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--lr", "1e-3,1e-2", "--published", "missing.csv"]])
def test_missing_words_and_files_are_one_line(folder, capsys, words):
    with suppress(SystemExit):
        assert main(["advise", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert ("--published" if words else "--lr") in error and error.count("\n") == 1


def test_published_quotients(folder, tmp_path):
    table = tmp_path / "cells.csv"
    lines = ["model,task,rank,batch_size,variant,learning_rate,mean,std"]
    for task, (lora, pissa) in {"math": (1e-3, 1e-4), "code": (2e-3, 5e-4), "chat": (1e-3, None)}.items():
        for variant, best in (("lora", lora), ("pissa", pissa)):
            scores = [] if best is None else [(best / 2, 10.0), (best, 20.0), (best * 2, 15.0)]
            lines += [f"m,{task},8,16,{variant},{lr},{score}," for lr, score in scores]
    table.write_text("\n".join(lines))
    quotients = published_quotients(table)
    assert sorted(quotients["pissa"]) == pytest.approx([4, 10]) and quotients["lora"] == [1, 1, 1]
    printed = text(load_blocks(folder), LOW, HIGH, quotients)
    assert "7 (4 – 10, n = 2)" in next(line for line in printed.splitlines() if line.startswith("pissa"))
    table.write_text("variant,lr\nlora,1\n")
    with pytest.raises(AnalysisError, match="has no column model, task, rank, batch_size, learning_rate, mean"):
        published_quotients(table)
    table.write_text("")
    with pytest.raises(AnalysisError, match="cannot be read as CSV"):
        published_quotients(table)
