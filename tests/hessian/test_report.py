"""The table, the figures and the command that read the records of blocks."""

import csv
import hashlib
import io
import itertools
import json
import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from analysis.errors import AnalysisError
from analysis.read.blocks import load_blocks
from analysis.style.palette import STYLES
from hessian import commands, figures, report
from lorabench.errors import UserError


def write(folder, variant="lora", matrix="q_proj", layer=0, lam=0.5, ratio=1.0, seed=0, identity=(), **fields):
    """Leave a record as ``python -m hessian`` does; ``identity`` and ``fields`` override."""
    identity = {
        "model": "sha256:" + "a" * 64,
        "task": {"name": "arithmetic", "fingerprint": "sha256:" + "b" * 64},
        "max_length": 512,
        "rank": 8,
        "seed": seed,
        "samples": 40,
        "k": 1,
        "trained": None,
        "rule": {"tol": 1e-3, "max_iter": 100, "attention": "math"},
        "precision": None,
        "variant": {"name": variant, "rank": 8, "alpha": 8, "target_modules": ["q_proj"]},
        "name": f"model.layers.{layer}.self_attn.{matrix}" if layer is not None else f"joint {'c' * 16}",
    } | dict(identity)
    growth = [(n, lam * (1 + 1 / n)) for n in (8, 16, 32, 40)]
    record = {
        "schema_version": 1,
        "id": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
        "kind": "hessian_block",
        "model": "tiny",
        "task": "arithmetic",
        "variant": variant,
        "layer": layer,
        "layers": 4,
        "matrix": matrix,
        "rank": identity["rank"],
        "seed": seed,
        "lambda_max": lam,
        "eigenvalues": [lam],
        "lambda_min": -0.6 * abs(lam),
        "residual": 1e-5,
        "converged": True,
        "data": {"value": lam, "stderr": 0.1 * abs(lam), "low": 0.8 * lam, "high": 1.2 * lam},
        "ratio": ratio and {"value": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio, "log_stderr": 0.05},
        "growth": [{"sequences": n, "value": v, "low": v - 0.3, "high": v + 0.3} for n, v in growth],
        "sequences": 40,
        "path": "LeafHessian",
        "checkpoint": None,
        "identity": identity,
        "finished": "2026-03-01T10:00:00+00:00",
    } | fields
    path = folder / f"{record['id']}.json"
    path.write_text(json.dumps(record))
    return path


@pytest.fixture
def folder(tmp_path):
    """LoRA, MiLoRA and PiSSA on two matrices of seven layers; the ratios of PiSSA are 4, 5, … 10 and 14, 15, … 20."""
    folder = tmp_path / "records"
    folder.mkdir()
    for (start, matrix), layer in itertools.product([(14, "k_proj"), (4, "q_proj")], range(7)):
        write(folder, "pissa", matrix, layer, 0.1 * (start + layer), start + layer, converged=layer != 3)
        write(folder, "lora", matrix, layer, 0.1)
        write(folder, "milora", matrix, layer, -0.1 if layer == 2 else 0.2, None if layer == 2 else 2.0)
    return folder


def rows(folder):
    return {(row["matrix"], row["variant"]): row for row in report.summary(load_blocks(folder)).to_dict("records")}


# Ends of the 95 % interval of a median by rank, from tables of the binomial distribution.
@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8)])
def test_the_interval_of_a_median_is_that_of_the_order_statistics(n, rank):
    values = [float(value) for value in np.random.default_rng(n).permutation(np.arange(1, n + 1))]
    assert report.median([*values, math.nan]) == ((n + 1) / 2, rank, n + 1 - rank, True)


def test_few_values_have_a_range_and_none_have_nothing():
    assert report.median([3.0, 1.0, 9.0, 4.0, 8.0]) == (4.0, 1.0, 9.0, False)
    assert all(math.isnan(value) for value in report.median([math.nan])[:3])
    assert not report.median([]).sure


def test_summary(folder):
    found = rows(folder)
    assert list(found) == [(m, v) for m in ("all", "q_proj", "k_proj") for v in ("lora", "pissa", "milora")]
    pissa = found["q_proj", "pissa"]
    assert [pissa[key] for key in ("blocks", "ratio", "ratio_low", "ratio_high", "ratio_min", "ratio_max")] == [
        7,
        7,
        4,
        10,
        4,
        10,
    ]
    assert (pissa["ratio_interval"], pissa["not_converged"]) == ("95%", 1)
    assert pissa["lambda_max"] == pytest.approx(0.7) and pissa["lambda_min"] == pytest.approx(-0.42)
    assert pissa["data_stderr"] == pytest.approx(0.1)
    both = found["all", "pissa"]
    assert (both["blocks"], both["ratio"], both["ratio_low"], both["ratio_high"]) == (14, 12, 6, 18)
    milora = found["all", "milora"]
    assert (milora["no_ratio"], milora["ratio"], milora["lambda_max"]) == (2, 2.0, 0.2)


def test_the_largest_data_error_is_shown_and_relative(folder):
    write(folder, "pissa", "q_proj", 0, 0.4, 4.0, data={"stderr": 0.1})
    assert rows(folder)["all", "pissa"]["data_stderr"] == pytest.approx(0.25)


def test_fewer_than_six_layers_have_no_interval(tmp_path):
    for layer in range(5):
        write(tmp_path, "pissa", layer=layer, ratio=2.0 + layer)
    row = rows(tmp_path)["q_proj", "pissa"]
    assert (row["ratio_low"], row["ratio_high"], row["ratio_interval"]) == (2.0, 6.0, "range")
    line = next(line for line in report.table(load_blocks(tmp_path)).splitlines() if "pissa" in line)
    assert line.split()[:8] == ["q_proj", "pissa", "5", "4", "2", "–", "6", "0.5"]


def test_seeds_of_a_block_count_once(tmp_path):
    for layer, seed in itertools.product(range(3), range(3)):
        write(tmp_path, "pissa", layer=layer, ratio=[1.0, 10.0, 4.0][seed] + layer, lam=0.1 + seed, seed=seed)
    row = rows(tmp_path)["q_proj", "pissa"]
    assert (row["blocks"], row["seeds"], row["ratio"], row["ratio_min"], row["ratio_max"]) == (3, 3, 5.0, 4.0, 6.0)
    assert row["lambda_max"] == pytest.approx(1.1)
    assert "A block counts once, with the median over its seeds (up to 3)." in report.table(load_blocks(tmp_path))


def test_text(folder):
    lines = report.table(load_blocks(folder)).splitlines()
    assert lines[:8] == [
        "tiny · arithmetic",
        "rank 8 · 40 samples",
        "",
        "matrix  variant  blocks  ratio to LoRA  min – max  λmax   λmin  data s.e.  not converged",
        "------  -------  ------  -------------  ---------  ----  -----  ---------  -------------",
        "all     lora         14              1          -   0.1  -0.06     10.0 %              0",
        "        pissa        14     12 [6, 18]     4 – 20   1.2  -0.72     10.0 %              2",
        "        milora       14       2 [2, 2]      2 – 2   0.2  -0.12     10.0 %              0",
    ]
    assert "Records without a ratio, since one of the two λmax is not positive: milora 2." in lines
    assert max(map(len, lines)) <= 110


def test_markdown(folder):
    lines = report.table(load_blocks(folder), "markdown").splitlines()
    assert lines[0] == "### tiny · arithmetic"
    assert "| k_proj | pissa | 7 | 17 [14, 20] | 14 – 20 | 1.7 | -1.02 | 10.0 % | 1 |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_csv_is_exact(folder):
    write(folder, "pissa", "q_proj", 0, 1 / 3, 1 / 3, seed=0)
    found = {(r["matrix"], r["variant"]): r for r in csv.DictReader(io.StringIO(report.table(load_blocks(folder), "csv")))}
    assert float(found["q_proj", "pissa"]["ratio_min"]) == 1 / 3
    assert found["q_proj", "pissa"]["samples"] == "40"


def test_one_matrix_is_not_shown_twice(tmp_path):
    write(tmp_path)
    assert "all" not in report.table(load_blocks(tmp_path))


def test_settings_are_kept_apart_and_named(tmp_path):
    write(tmp_path, "pissa", ratio=10.0)
    write(tmp_path, "pissa", ratio=20.0, identity={"rank": 64})
    write(tmp_path, "pissa", ratio=30.0, identity={"samples": "auto"})
    write(tmp_path, "pissa", ratio=40.0, identity={"max_length": 256})
    write(tmp_path, "pissa", ratio=50.0, checkpoint="runs/abc", identity={"trained": "sha256:" + "d" * 64})
    write(tmp_path, "pissa", ratio=60.0, weights="random", identity={"model": "random:" + "e" * 64})
    text = report.table(load_blocks(tmp_path))
    subtitles = [line for line in text.splitlines() if line.startswith("rank")]
    assert subtitles == [
        "rank 8 · 40 samples · checkpoint abc",
        "rank 8 · 40 samples · max_length=256",
        "rank 8 · 40 samples · max_length=512",
        "rank 8 · 40 samples",
        "rank 8 · auto samples",
        "rank 64 · 40 samples",
    ]
    assert [line.split()[3] for line in text.splitlines() if "pissa" in line] == ["50", "40", "10", "60", "30", "20"]
    assert text.count("tiny · arithmetic") == 5 and text.count("tiny (random weights) · arithmetic") == 1


def test_random_weights_are_known_by_their_fingerprint_too(tmp_path):
    write(tmp_path, identity={"model": "random:" + "e" * 64})
    assert report.table(load_blocks(tmp_path)).startswith("tiny (random weights) · arithmetic")


def test_unequal_sequences_are_said(tmp_path):
    for variant, layer in itertools.product(("lora", "pissa"), range(3)):
        count = {("lora", 1): 32, ("pissa", 1): 32, ("pissa", 2): 64}.get((variant, layer), 16)
        write(tmp_path, variant, layer=layer, sequences=count, identity={"samples": "auto"})
    frame = load_blocks(tmp_path)
    lines = report.table(frame).splitlines()
    assert "Blocks were measured on 16 to 64 sequences." in lines
    (line,) = [line for line in lines if line.startswith("Not on the same for all variants")]
    assert "layer 2 q_proj;" in line and "layer 1" not in line
    for draw in (figures.layers, figures.box, figures.samples):
        (part,) = draw(frame).subfigs
        assert part.get_suptitle().endswith("auto samples · 16 to 64 sequences")
    (tmp_path / "same").mkdir()
    write(tmp_path / "same", identity={"samples": "auto"})
    assert "sequences" not in report.table(load_blocks(tmp_path / "same")).partition("ratio to LoRA, λmax, λmin:")[0]


def test_how_exact_a_value_is_sets_nothing_apart_and_the_most_exact_record_counts(tmp_path, caplog):
    later = {"finished": "2026-03-02T10:00:00+00:00"}
    write(tmp_path, "pissa", ratio=10.0)
    write(tmp_path, "pissa", ratio=9.0, identity={"rule": {"tol": 1e-2}}, **later)
    write(tmp_path, "pissa", ratio=5.0, identity={"rule": {"tol": 1e-5}}, converged=False, **later)
    assert rows(tmp_path)["q_proj", "pissa"]["ratio"] == 10.0
    assert caplog.text.count("a more exact or newer record of the same block is used") == 2
    write(tmp_path, "pissa", ratio=11.0, identity={"rule": {"tol": 1e-3, "max_iter": 50}}, **later)
    assert rows(tmp_path)["q_proj", "pissa"]["ratio"] == 11.0


def test_a_variant_in_two_forms_is_two_variants(tmp_path):
    for alpha in (8, 16):
        write(tmp_path, "pissa", ratio=float(alpha), identity={"variant": {"name": "pissa", "alpha": alpha}})
    write(tmp_path, "lora")
    assert [v for m, v in rows(tmp_path) if m == "q_proj"] == ["lora", "pissa alpha=16", "pissa alpha=8"]


def test_why_there_is_no_ratio_is_told(tmp_path):
    write(tmp_path, "pissa", ratio=None)
    assert "there is no block of lora beside them: pissa 1" in report.table(load_blocks(tmp_path))
    write(tmp_path, "lora", lam=-0.5)
    assert "since one of the two λmax is not positive: pissa 1" in report.table(load_blocks(tmp_path))


def test_joint_blocks_have_their_own_rows_and_no_part_in_the_others(folder):
    before = rows(folder)["all", "pissa"]
    write(folder, "pissa", "joint", None, 50.0, 500.0)
    found = rows(folder)
    assert found["all", "pissa"] == before
    joint = [row for (matrix, _), row in found.items() if matrix.startswith("joint")]
    assert [(row["ratio"], row["lambda_max"]) for row in joint] == [(500.0, 50.0)]


def test_unequal_blocks_are_said(folder):
    write(folder, "dora", "q_proj", 0, 0.1, 1.1)
    assert "The variants were not measured at the same blocks: lora 14, pissa 14, milora 14, dora 1." in report.table(
        load_blocks(folder)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lambda_max": None}, "lambda_max is None"),
        ({"lambda_max": float("nan")}, "lambda_max is nan"),
        ({"seed": True}, "seed is True"),
        ({"schema_version": 2}, "schema_version is 2"),
        ({"growth": 3}, "growth is 3"),
        ({"data": {"stderr": "x"}}, "'x' is not a number"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_left_out_with_a_line(folder, caplog, change, reason):
    path = write(folder, "dora", "q_proj", 0, 0.1, 1.1, **change)
    (folder / "half.json").write_text("{")
    (folder / "other.json").write_text('{"kind": "hessian_curve"}')
    assert "dora" not in set(load_blocks(folder)["variant"])
    assert [message for message in caplog.messages if reason in message and str(path) in message]
    assert len(caplog.messages) == 2 and "half.json" in caplog.text


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(AnalysisError, match="is not a directory"):
        load_blocks(tmp_path / "missing")
    with pytest.raises(AnalysisError, match="no record of a block"):
        load_blocks(tmp_path)


# ---- figures


def curves(axes, variant):
    """The data of the line, and of the bars, of a variant in a panel."""
    color = STYLES[variant].color.lower()
    lines = [line for line in axes.lines if line.get_linestyle() != "None" and to_hex(line.get_color()) == color]
    bars = [bars for bars in axes.collections if len(bars.get_colors()) and to_hex(bars.get_colors()[0]) == color]
    return lines[0].get_xydata(), [segment[:, 1].tolist() for segment in bars[0].get_segments() if len(segment)]


def test_ratio_over_layers(folder):
    figure = figures.layers(load_blocks(folder))
    panels = [axes for axes in figure.get_axes() if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["q_proj", "k_proj"]
    for axes, start in zip(panels, (4, 14), strict=True):
        assert axes.get_yscale() == "log"
        xy, bars = curves(axes, "pissa")
        assert np.round(xy[:, 0]).tolist() == list(range(7))
        assert xy[:, 1].tolist() == [start + layer for layer in range(7)]
        assert bars[2] == pytest.approx([0.9 * (start + 2), 1.1 * (start + 2)])
        assert np.isnan(curves(axes, "milora")[0][2, 1])  # no ratio there
        low, high = axes.get_ylim()
        assert low < 1 and high > 22  # LoRA's line, and all bars of both panels


def test_several_seeds_are_one_point_with_bars_over_all(tmp_path):
    for seed, ratio in enumerate([2.0, 8.0, 4.0]):
        write(tmp_path, "pissa", ratio=ratio, seed=seed)
    (axes,) = figures.layers(load_blocks(tmp_path)).get_axes()
    xy, bars = curves(axes, "pissa")
    assert xy.tolist() == [[0, 4]] and bars == [pytest.approx([1.8, 8.8])]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0]


def test_boxes_count_what_a_log_axis_cannot_show(folder):
    (axes,) = figures.box(load_blocks(folder)).get_axes()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lora", "pissa", "milora\n2 ≤ 0"]
    points = {line.get_marker(): line.get_ydata() for line in axes.lines if line.get_linestyle() == "None"}
    assert len(points[STYLES["lora"].marker]) == 14 and len(points[STYLES["milora"].marker]) == 12
    assert sorted(points[STYLES["pissa"].marker]) == pytest.approx([0.1 * n for n in [*range(4, 11), *range(14, 21)]])
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_linewidth() == 2.5]
    assert medians == pytest.approx([0.1, 1.2, 0.2])


def test_samples_are_those_of_the_block_in_the_middle(folder):
    frame = load_blocks(folder)
    block = figures.chosen(frame)
    assert block["variant"].tolist() == ["lora", "pissa", "milora"]
    assert set(zip(block["matrix"], block["layer"], strict=True)) == {("q_proj", 1)}  # 1.5 is the middle of four layers
    (axes,) = figures.samples(frame).get_axes()
    assert axes.get_xscale() == "log"
    xy, bars = curves(axes, "pissa")
    assert xy[:, 1] == pytest.approx([0.5 * (1 + 1 / n) for n in (8, 16, 40)])  # 32 is too near 40 to be told apart
    assert xy[:, 0] == pytest.approx([8, 16, 40])
    assert bars[0] == pytest.approx([0.5 * 1.125 - 0.3, 0.5 * 1.125 + 0.3])
    assert "layer 1 q_proj" in axes.get_xlabel()
    assert axes.get_ylabel() == "λ of the final eigenvectors"  # not λmax of n sequences
    low, _ = axes.get_ylim()
    assert 0.02 < low < 0.04  # LoRA's bars reach below zero, the axis to a third of its values


def test_the_block_shown_is_one_that_most_variants_have(folder):
    write(folder, "dora", "k_proj", 6, 0.1, 1.1)
    block = figures.chosen(load_blocks(folder))
    assert set(zip(block["matrix"], block["layer"], strict=True)) == {("k_proj", 6)} and len(block) == 4


def negative(folder):
    write(folder, "lora", lam=-1.0, ratio=None)
    write(folder, "pissa", lam=-2.0, ratio=None)


def alone(folder):
    write(folder, "pissa", ratio=None)


def joint(folder):
    write(folder, "lora", "joint", None)


def two_settings(folder):
    for rank, layer in itertools.product((8, 16), range(3)):
        for matrix in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj")[: rank // 4 + 1]:
            write(folder, "lora", matrix, layer, identity={"rank": rank})
            write(folder, "new_variant", matrix, layer, ratio=3.0, identity={"rank": rank})


@pytest.mark.parametrize(
    ("fill", "names"),
    [
        (negative, "layers box samples"),
        (alone, "layers box samples"),
        (joint, "box samples"),
        (two_settings, "layers box samples"),
    ],
)
def test_every_folder_gives_figures(tmp_path, fill, names):
    fill(tmp_path)
    files = figures.save(load_blocks(tmp_path), tmp_path / "new" / "place")
    assert [file.name for file in files] == [f"sharpness_{name}.png" for name in names.split()]
    for file in files:
        image = imread(file)
        assert image.shape[0] > 700 and image.shape[1] > 1200
        assert image[..., :3].std() > 0.03  # not a blank page


# ---- the command


def test_the_command_prints_the_table_and_draws(folder, tmp_path, capsys):
    commands.run(["report", str(folder), "--out", str(tmp_path / "figures"), "--format", "markdown"])
    out, err = capsys.readouterr()
    assert out == report.table(load_blocks(folder), "markdown")
    assert err.splitlines() == [str(tmp_path / "figures" / f"sharpness_{name}.png") for name in ("layers", "box", "samples")]
    commands.run(["report", str(folder)])
    assert (folder / "sharpness_box.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "the following arguments are required: FOLDER"),
        (["report", "{folder}", "--format", "html"], "invalid choice: 'html'"),
        (["report", "{folder}", "--outt", "x"], "unrecognized arguments"),
        (["report", "{folder}/missing"], "is not a directory"),
        (["report", "{empty}"], "no record of a block"),
        (["report", "{folder}", "--out", "{folder}/half.json/x"], "choose another place with --out"),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    (folder / "half.json").write_text('{"kind": "other"}')
    with pytest.raises(UserError, match=message) as error:
        commands.run([word.format(folder=folder, empty=tmp_path / "empty") for word in words])
    assert "\n" not in str(error.value)
