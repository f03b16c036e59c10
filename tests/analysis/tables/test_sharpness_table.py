"""The table of sharpness, and the command that prints it."""

import csv
import io
import itertools

import pytest
from block_records import write

from analysis.__main__ import main
from analysis.figures import sharpness_box, sharpness_layers, sharpness_samples
from analysis.read.blocks import load_blocks
from analysis.tables import table
from analysis.tables.sharpness import frame


def rows(folder):
    return {(row["matrix"], row["variant"]): row for row in frame(load_blocks(folder)).to_dict("records")}


def test_summary(folder):
    table = rows(folder)
    assert list(table) == [(m, v) for m in ("all", "q_proj", "k_proj") for v in ("lora", "pissa", "milora")]
    pissa = table["q_proj", "pissa"]
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
    both = table["all", "pissa"]
    assert (both["blocks"], both["ratio"], both["ratio_low"], both["ratio_high"]) == (14, 12, 6, 18)
    milora = table["all", "milora"]
    assert (milora["no_ratio"], milora["ratio"], milora["lambda_max"]) == (2, 2.0, 0.2)


def test_the_largest_data_error_is_shown_and_relative(folder):
    write(folder, "pissa", "q_proj", 0, 0.4, 4.0, data={"stderr": 0.1})
    assert rows(folder)["all", "pissa"]["data_stderr"] == pytest.approx(0.25)


def test_fewer_than_six_layers_have_no_interval(tmp_path):
    for layer in range(5):
        write(tmp_path, "pissa", layer=layer, ratio=2.0 + layer)
    row = rows(tmp_path)["q_proj", "pissa"]
    assert (row["ratio_low"], row["ratio_high"], row["ratio_interval"]) == (2.0, 6.0, "range")
    line = next(line for line in table(load_blocks(tmp_path), "sharpness").splitlines() if "pissa" in line)
    assert line.split()[:8] == ["q_proj", "pissa", "5", "4", "2", "–", "6", "0.5"]


def test_seeds_of_a_block_count_once(tmp_path):
    for layer, seed in itertools.product(range(3), range(3)):
        write(tmp_path, "pissa", layer=layer, ratio=[1.0, 10.0, 4.0][seed] + layer, lam=0.1 + seed, seed=seed)
    row = rows(tmp_path)["q_proj", "pissa"]
    assert (row["blocks"], row["seeds"], row["ratio"], row["ratio_min"], row["ratio_max"]) == (3, 3, 5.0, 4.0, 6.0)
    assert row["lambda_max"] == pytest.approx(1.1)
    assert "A block counts once, with the median over its seeds (up to 3)." in table(load_blocks(tmp_path), "sharpness")


def test_text(folder):
    lines = table(load_blocks(folder), "sharpness").splitlines()
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
    lines = table(load_blocks(folder), "sharpness", "markdown").splitlines()
    assert lines[0] == "### tiny · arithmetic"
    assert "| k_proj | pissa | 7 | 17 [14, 20] | 14 – 20 | 1.7 | -1.02 | 10.0 % | 1 |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_csv_is_exact(folder):
    write(folder, "pissa", "q_proj", 0, 1 / 3, 1 / 3, seed=0)
    notes = {
        (r["matrix"], r["variant"]): r for r in csv.DictReader(io.StringIO(table(load_blocks(folder), "sharpness", "csv")))
    }
    assert float(notes["q_proj", "pissa"]["ratio_min"]) == 1 / 3
    assert notes["q_proj", "pissa"]["samples"] == "40"


def test_one_matrix_is_not_shown_twice(tmp_path):
    write(tmp_path)
    assert "all" not in table(load_blocks(tmp_path), "sharpness")


def test_settings_are_kept_apart_and_named(tmp_path):
    write(tmp_path, "pissa", ratio=10.0)
    write(tmp_path, "pissa", ratio=20.0, identity={"rank": 64})
    write(tmp_path, "pissa", ratio=30.0, identity={"samples": "auto"})
    write(tmp_path, "pissa", ratio=40.0, identity={"max_length": 256})
    write(tmp_path, "pissa", ratio=50.0, checkpoint="runs/abc", identity={"trained": "sha256:" + "d" * 64})
    write(tmp_path, "pissa", ratio=60.0, weights="random", identity={"model": "random:" + "e" * 64})
    text = table(load_blocks(tmp_path), "sharpness")
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
    assert table(load_blocks(tmp_path), "sharpness").startswith("tiny (random weights) · arithmetic")


def test_unequal_sequences_are_said(tmp_path):
    for variant, layer in itertools.product(("lora", "pissa"), range(3)):
        count = {("lora", 1): 32, ("pissa", 1): 32, ("pissa", 2): 64}.get((variant, layer), 16)
        write(tmp_path, variant, layer=layer, sequences=count, identity={"samples": "auto"})
    blocks = load_blocks(tmp_path)
    lines = table(blocks, "sharpness").splitlines()
    assert "Blocks were measured on 16 to 64 sequences." in lines
    (line,) = [line for line in lines if line.startswith("Not on the same for all variants")]
    assert "layer 2 q_proj;" in line and "layer 1" not in line
    for draw in (sharpness_layers.draw, sharpness_box.draw, sharpness_samples.draw):
        (part,) = draw(blocks).subfigs
        assert part.get_suptitle().endswith("auto samples · 16 to 64 sequences")
    (tmp_path / "same").mkdir()
    write(tmp_path / "same", identity={"samples": "auto"})
    assert "sequences" not in table(load_blocks(tmp_path / "same"), "sharpness").partition("ratio to LoRA, λmax, λmin:")[0]


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
    assert "there is no block of lora beside them: pissa 1" in table(load_blocks(tmp_path), "sharpness")
    write(tmp_path, "lora", lam=-0.5)
    assert "since one of the two λmax is not positive: pissa 1" in table(load_blocks(tmp_path), "sharpness")


def test_joint_blocks_have_their_own_rows_and_no_part_in_the_others(folder):
    before = rows(folder)["all", "pissa"]
    write(folder, "pissa", "joint", None, 50.0, 500.0)
    table = rows(folder)
    assert table["all", "pissa"] == before
    joint = [row for (matrix, _), row in table.items() if matrix.startswith("joint")]
    assert [(row["ratio"], row["lambda_max"]) for row in joint] == [(500.0, 50.0)]


def test_unequal_blocks_are_said(folder):
    write(folder, "dora", "q_proj", 0, 0.1, 1.1)
    text = table(load_blocks(folder), "sharpness")
    assert "The variants were not measured at the same blocks: lora 14, pissa 14, milora 14, dora 1." in text


def test_the_command_prints_the_table(folder, capsys):
    assert main(["table", str(folder), "--kind", "sharpness", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == table(load_blocks(folder), "sharpness", "markdown")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "--kind", "sharpness"], "the following arguments are required: RUNS"),
        (["table", "{folder}", "--kind", "sharpness", "--format", "html"], "invalid choice: 'html'"),
        (["table", "{folder}", "--kind", "sharpness", "--outt", "x"], "unrecognized arguments"),
        (["table", "{folder}/missing", "--kind", "sharpness"], "is not a directory"),
        (["table", "{empty}", "--kind", "sharpness"], "no record of a block"),
        (
            ["plot", "{folder}", "--kind", "sharpness_box", "--out", "{folder}/half.json/x.png"],
            "choose another place with --out",
        ),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    (folder / "half.json").write_text('{"kind": "other"}')
    try:
        code = main([word.format(folder=folder, empty=tmp_path / "empty") for word in words])
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
