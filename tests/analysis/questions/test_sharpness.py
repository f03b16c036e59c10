"""Best learning rates over λmax: the statistics, the comparison, its figure and its command."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text
from scipy import stats

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.figures.sharpness_lr import draw
from analysis.questions.sharpness import compare, text
from analysis.read.blocks import load_blocks
from analysis.read.load import load_records
from analysis.stats.correlation import rank_correlation, slope
from analysis.style.drawing import save
from analysis.style.numbers import format_estimate
from analysis.style.palette import STYLES

ROOT = Path(__file__).resolve().parents[3]
RATES = [2e-4, 6.3246e-4, 2e-3, 6.3246e-3, 2e-2]

# ---- statistics

DATA = {
    "plain": ([1.0, 2.0, 3.5, 4.0, 5.0, 6.0], [9.0, 7.0, 8.0, 3.0, 2.0, 4.0]),
    "ties": ([1.0, 2.0, 2.0, 4.0, 5.0, 6.0, 0.5], [9.0, 9.0, 8.0, 3.0, 3.0, 3.0, 3.0]),
    "perfect": ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]),
    "nothing": ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [4.0, 1.0, 7.0, 8.0, 2.0, 3.0, 6.0, 5.0]),
}


@pytest.mark.parametrize("name", DATA)
def test_rank_correlation_is_scipys_and_p_counts_all_orders(name):
    x, y = DATA[name]
    correlation = rank_correlation(x, y)
    expected = stats.spearmanr(x, y).statistic
    assert correlation.rho.value == pytest.approx(expected, abs=1e-12)
    assert correlation.orders == math.factorial(len(x))
    exact = stats.permutation_test(
        (x,), lambda z: stats.spearmanr(z, y).statistic, permutation_type="pairings", n_resamples=np.inf
    ) if len(x) < 7 else None  # fmt: skip
    if exact is not None:
        both = np.mean(np.abs(exact.null_distribution) >= abs(expected) - 1e-9)
        assert correlation.p == pytest.approx(both)
    assert -1 <= correlation.rho.low <= correlation.rho.value <= correlation.rho.high <= 1


def test_known_exact_p_values():
    # Five points in perfect order: 2 of 120 orders; four: 2 of 24.
    assert rank_correlation(*DATA["perfect"]).p == pytest.approx(2 / 120)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)


def test_p_of_many_points_is_drawn():
    generator = np.random.default_rng(1)
    x = generator.normal(size=11)
    y = x + 1.2 * generator.normal(size=11)
    correlation = rank_correlation(x.tolist(), y.tolist())
    assert correlation.orders == 100_000
    # Student's t is a fair approximation of the exact distribution at n = 11.
    assert correlation.p == pytest.approx(stats.spearmanr(x, y).pvalue, rel=0.15)
    perfect = rank_correlation(list(range(11)), list(range(11)))
    assert perfect.p == pytest.approx(1 / 100_001, rel=3)
    assert perfect.p > 0


def test_the_interval_is_the_bootstraps():
    x, y = DATA["plain"]
    rho = rank_correlation(x, y).rho
    generator = np.random.default_rng(7)
    drawn = []
    while len(drawn) < 4000:
        index = generator.integers(6, size=6)
        left, right = np.array(x)[index], np.array(y)[index]
        if len(set(left)) > 1 and len(set(right)) > 1:
            drawn.append(stats.spearmanr(left, right).statistic)
    assert [rho.low, rho.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist(), abs=0.05)
    assert rank_correlation(x, y) == rank_correlation(x, y)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 2, 3], [5, 5, 5]), ([4, 4, 4], [1, 2, 3]), ([], [])])
def test_what_has_no_rank_correlation(x, y):
    correlation = rank_correlation(x, y)
    assert math.isnan(correlation.rho.value) and math.isnan(correlation.p) and correlation.orders == 0


def test_few_points_have_no_interval():
    few, more = (rank_correlation([*range(n)], [1, 0, *range(2, n)]).rho for n in (4, 5))
    assert few.value == pytest.approx(0.8) and math.isnan(few.low) and math.isnan(few.high)
    assert more.low < more.value <= more.high
    assert format_estimate(few) == "0.80" and format_estimate(more).startswith("0.90 [")


def test_slope_is_least_squares_with_students_interval():
    x, y = np.array([0.0, 1.0, 2.0, 4.0, 7.0]), np.array([1.0, -0.2, -1.9, -3.0, -7.5])
    design = np.stack([x, np.ones(5)], 1)
    solution, (rest,), *_ = np.linalg.lstsq(design, y)
    stderr = math.sqrt(rest / 3 / ((x - x.mean()) ** 2).sum())
    reach = 3.182446 * stderr  # t at 97.5 %, 3 degrees of freedom
    assert slope(x.tolist(), y.tolist()) == pytest.approx((solution[0], solution[0] - reach, solution[0] + reach), rel=1e-6)
    assert math.isnan(slope([1, 2], [1, 2]).value) and math.isnan(slope([1, 1, 1], [1, 2, 3]).value)


# ---- comparison

SHARP = {
    "lora": (0.1, 2e-3),
    "pissa": (1.0, 6.3246e-4),
    "milora": (0.2, 2e-3),
    "olora": (10.0, 2e-4),
    "dora": (0.05, 6.3246e-3),
}
"""λmax and best learning rate."""


def block(folder, variant, layer, lam, seed=0, matrix="q_proj", rank=8, model="sha256:" + "a" * 64, **fields):
    """Leave a record as ``python -m hessian`` does."""
    identity = {"rank": rank, "seed": seed, "samples": 40, "variant": {"name": variant}, "name": f"{layer}.{matrix}"}
    identity["model"] = model
    record = {
        "schema_version": 1,
        "kind": "hessian_block",
        "model": "tiny",
        "task": "arithmetic",
        "variant": variant,
        "layer": layer,
        "layers": 4,
        "matrix": matrix,
        "rank": rank,
        "seed": seed,
        "lambda_max": lam,
        "lambda_min": -0.1,
        "converged": True,
        "data": {"value": lam, "stderr": 0.1, "low": 0.0, "high": 1.0},
        "ratio": None,
        "growth": [],
        "checkpoint": None,
        "identity": identity,
        "finished": "2026-03-01T10:00:00+00:00",
    } | fields
    name = f"{variant}-{layer}-{seed}-{matrix}-{rank}-{len(fields)}.json"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(record))


@pytest.fixture
def blocks(tmp_path):
    """Three layers, whose λmax are a tenth of, once, and 100 times the median."""
    for (variant, (lam, _)), (layer, factor) in itertools.product(SHARP.items(), enumerate([0.1, 1.0, 100.0])):
        block(tmp_path / "hessian", variant, layer, lam * factor)
    return tmp_path / "hessian"


@pytest.fixture
def sweep(runs, write):
    """The best test score is elsewhere than the best validation score."""
    for (variant, (_, best)), lr in itertools.product(SHARP.items(), RATES):
        score = 0.9 - 0.2 * abs(math.log10(lr / best))
        write(variant, lr, 0, test=0.95 if lr == 2e-2 else score, validation=score)
    return runs


def test_best_learning_rates_beside_median_sharpness(sweep, blocks):
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    measured = {v: (lam, lr) for v, lam, lr, _ in comparison.points.itertuples(index=False)}
    assert list(measured) == ["lora", "pissa", "milora", "olora", "dora"]
    assert measured == {v: (pytest.approx(lam), lr) for v, (lam, lr) in SHARP.items()}
    assert comparison.points["edge"].tolist() == ["", "", "", "low", ""]
    x, y = zip(*SHARP.values(), strict=True)
    assert comparison.rank.rho.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert comparison.slope.value == pytest.approx(stats.linregress(np.log(x), np.log(y)).slope)
    assert (comparison.title, comparison.measured, comparison.remarks) == (
        "tiny · arithmetic",
        "λmax: 3 blocks, 40 samples",
        [],
    )


def test_only_common_blocks_count_and_seeds_count_once(sweep, blocks):
    block(blocks, "lora", 3, 1e6)
    block(blocks, "lora", 1, 1e6, matrix="k_proj")
    for variant in SHARP:
        block(blocks, variant, None, 1e6, matrix="joint")
        block(blocks, variant, 0, 1e6, checkpoint="runs/abc")
    for seed in range(1, 5):
        block(blocks, "pissa", 2, 300.0, seed=seed)
        block(blocks, "pissa", 1, 50.0 if seed == 1 else 1.0, seed=seed)
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    assert comparison.points["sharpness"].tolist() == pytest.approx([0.1, 1.0, 0.2, 10.0, 0.05])


def test_what_is_left_out_is_said(sweep, blocks, write):
    write("loft", 2e-3, 0, 0.9)
    for layer in range(3):
        block(blocks, "gralora", layer, 0.1)
        block(blocks, "dora", layer, -0.1)
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    assert comparison.points["variant"].tolist() == ["lora", "pissa", "milora", "olora"]
    assert comparison.remarks == [
        "Left out, in the sweep or in the blocks only: gralora, loft.",
        "Left out, without a positive median λmax at common blocks: dora.",
    ]


def test_other_parameters_and_optimisers_are_told_and_taken_out(sweep, blocks, write):
    for lr in RATES:
        write("loft", lr, 0, 0.9 - 0.2 * abs(math.log10(lr / 2e-2)))
    for layer in range(3):
        block(blocks, "loft", layer, 0.1)
        block(blocks, "dora", layer, 0.05, path="AdapterHessian", finished="2026-03-02T10:00:00+00:00")
    (comparison,) = comparisons = compare(load_records(sweep), load_blocks(blocks))
    assert comparison.unlike == ["dora", "loft"]
    x, y = zip(*(SHARP[name] for name in ("lora", "pissa", "milora", "olora")), strict=True)
    assert comparison.rank_alike == rank_correlation(x, y) and comparison.rank_alike != comparison.rank
    assert comparison.slope_alike == slope(np.log(x).tolist(), np.log(y).tolist())
    lines = text(comparisons).splitlines()
    counts = [line.split(" variants")[0][-1] for line in lines if line.startswith(("Spearman", "Without"))]
    assert counts == ["6", ":", "4"] and "Without dora, loft:" in lines
    assert "Of other parameters than LoRA's, another optimiser or rates of its own groups: dora, loft." in lines
    (axes,) = draw(comparisons).get_axes()
    assert any("without dora, loft: ρ = " in words.get_text() for words in axes.texts)


STEPS = {
    "another optimizer": ("mine", {"optimizer": "mine.Sign", "groups": [{"name": "0", "lr": "lr", "parameters": 1}]}, True),
    "rates of its own": (
        "mine",
        {"optimizer": "torch.optim.adamw.AdamW", "groups": [{"lr": "lr", "parameters": 1}, {"lr": 16.0, "parameters": 1}]},
        True,
    ),
    "AdamW": ("mine", {"optimizer": "torch.optim.adamw.AdamW", "groups": [{"lr": "lr", "parameters": 1}]}, False),
    "before records said it": ("mine", {}, False),
    "LoFT before records said it": ("loft", {}, True),
    "LoFT's name alone": ("loft", {"optimizer": "torch.optim.adamw.AdamW"}, False),
}


@pytest.mark.parametrize(("variant", "training", "unlike"), STEPS.values(), ids=STEPS.keys())
def test_the_record_says_what_steps_of_a_variant_are(sweep, blocks, write, variant, training, unlike):
    """Of a method that this package has never seen, too."""
    for lr in RATES:
        groups = [group | {"lr": lr if group["lr"] == "lr" else group["lr"]} for group in training.get("groups", [])]
        write(variant, lr, 0, 0.9 - 0.2 * abs(math.log10(lr / 2e-2)), training=training | {"groups": groups})
    for layer in range(3):
        block(blocks, variant, layer, 0.1)
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    assert comparison.unlike == ([variant] if unlike else [])


def test_a_variant_without_any_score_has_no_best_learning_rate(sweep, blocks, write):
    for lr in RATES:
        write("gralora", lr, 0, 0.5, validation=0.0)
    for layer in range(2):  # and its missing block does not count against the others
        block(blocks, "gralora", layer, 1.0)
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    assert "gralora" not in set(comparison.points["variant"])
    assert comparison.remarks == ["Left out, with a validation score of 0 at every learning rate: gralora."]
    assert comparison.measured.startswith("λmax: 3 blocks")


ZERO = "Left out, with a validation score of 0 at every learning rate: lora, pissa."


def test_where_nothing_was_learned_the_reason_is_said(runs, write, tmp_path, capsys):
    for variant in ("lora", "pissa"):
        write(variant, 2e-3, 0, 0.5, validation=0.0)
        block(tmp_path / "hessian", variant, 0, 1.0)
    assert main(["sharpness", str(runs), "--hessian", str(tmp_path / "hessian")]) == 2
    line = capsys.readouterr().err
    assert ZERO in line and line.count("\n") == 1


def test_a_setting_that_is_not_compared_beside_others_is_named(sweep, blocks, write, caplog):
    for variant in ("lora", "pissa"):
        write(variant, 2e-3, 0, 0.5, validation=0.0, config={"batch_size": 128})
    (comparison,) = compare(load_records(sweep), load_blocks(blocks))
    assert "batch size 16" in comparison.subtitle
    [message] = caplog.messages
    assert "batch size 128" in message and ZERO in message


@pytest.mark.parametrize("change", [{"weights": "random"}, {"model": "sha256:" + "b" * 64}, {"model": "random:" + "a" * 64}])
def test_other_weights_are_not_compared(runs, write, tmp_path, change):
    for variant in ("lora", "pissa"):
        write(variant, 2e-3, 0, 0.9)
        block(tmp_path / "hessian", variant, 0, 1.0, **change)
    with pytest.raises(AnalysisError, match="nothing to compare") as error:
        compare(load_records(runs), load_blocks(tmp_path / "hessian"))
    words = {"weights": "tiny (random weights)"}.get(next(iter(change)), change.get("model", "")[-8:])
    assert words in str(error.value).partition("the blocks have")[2]


def test_every_matching_setting_is_compared(sweep, blocks, write):
    for variant, rank in itertools.product(("lora", "pissa"), (8, 64)):
        write(variant, 2e-3, 0, 0.9, config={"rank": rank, "batch_size": 128})
    for variant in ("lora", "pissa"):
        block(blocks, variant, 0, 0.1, rank=64)
        block(blocks, variant, 0, 0.1, rank=4)
    comparisons = compare(load_records(sweep), load_blocks(blocks))
    assert [comparison.subtitle.partition(" · 2400")[0] for comparison in comparisons] == [
        "rank 8 · batch size 16",
        "rank 8 · batch size 128",
        "rank 64 · batch size 128",
    ]


@pytest.mark.parametrize("change", ["rank", "variants", "blocks", "negative"])
def test_nothing_in_common_is_one_line(runs, write, tmp_path, change):
    for variant in ("lora", "pissa"):
        write(variant, 2e-3, 0, 0.9, config={"rank": 64} if change == "rank" else None)
        layer = 1 if change == "blocks" and variant == "pissa" else 0
        lam = -1.0 if change == "negative" and variant == "pissa" else 1.0
        block(tmp_path / "hessian", "olora" if change == "variants" and variant == "pissa" else variant, layer, lam)
    with pytest.raises(AnalysisError, match="nothing to compare") as error:
        compare(load_records(runs), load_blocks(tmp_path / "hessian"))
    rank = 64 if change == "rank" else 8
    swept = f"tiny · arithmetic · rank {rank} · files aaaaaaaa (lora, pissa)"
    assert f"the sweep has {swept}, the blocks have tiny" in str(error.value)
    assert "\n" not in str(error.value)


def test_text(sweep, blocks):
    lines = text(compare(load_records(sweep), load_blocks(blocks))).splitlines()
    assert lines[:6] == [
        "tiny · arithmetic",
        "rank 8 · batch size 16 · 2400 samples · 1 epoch · λmax: 3 blocks, 40 samples",
        "",
        "variant  median λmax  of LoRA's   best lr  of LoRA's  edge",
        "-------  -----------  ---------  --------  ---------  ----",
        "lora             0.1          1      2e-3          1  -",
    ]
    assert "olora             10        100      2e-4        0.1  low" in lines
    (line,) = [line for line in lines if line.startswith("Spearman")]
    assert line.startswith("Spearman's rank correlation of λmax and best lr, 5 variants: -0.97 [")
    assert line.endswith("p = 0.033 (all 120 orders).")
    assert any(line.startswith("Slope of log lr over log λmax: -0.61 [") for line in lines)


def test_two_variants_have_no_correlation(runs, write, tmp_path):
    for variant, lr in (("lora", 2e-3), ("pissa", 2e-4)):
        write(variant, lr, 0, 0.9)
        block(tmp_path / "hessian", variant, 0, 1.0)
    comparisons = compare(load_records(runs), load_blocks(tmp_path / "hessian"))
    assert "No rank correlation: it needs three variants" in text(comparisons)
    assert comparisons[0].points["edge"].tolist() == ["both", "both"]
    save(lambda: draw(comparisons), tmp_path / "two.svg")


# ---- figure


def test_markers_stay_apart(runs, write, tmp_path):
    """Seven variants of nearly the same sharpness and learning rate, two of them of exactly the same."""
    names = ["lora", "loft", "dora", "milora", "init_ab", "rslora", "gralora", "pissa"]
    for index, variant in enumerate(names):
        write(variant, 2e-3 if index < 7 else 2e-4, 0, 0.9)
        block(tmp_path / "hessian", variant, 0, 0.1 if index < 2 else 0.1 + 0.002 * index if index < 7 else 3.0)
    drawn = draw(compare(load_records(runs), load_blocks(tmp_path / "hessian")))
    (axes,) = drawn.get_axes()
    drawn.draw_without_rendering()
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    centres = {line.get_marker(): line.get_transform().transform(line.get_xydata())[0] for line in marks}
    assert len(centres) == 8
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(centres.values(), 2)) > 8
    (legend,) = drawn.legends
    assert {line.get_label(): line.get_marker() for line in legend.legend_handles} == {n: STYLES[n].marker for n in names}


def test_titles_of_a_row_stand_at_one_height(sweep, blocks, write):
    for variant, lr in itertools.product(("lora", "pissa"), (2e-4, 2e-3)):  # two variants: no correlation, so fewer lines
        write(variant, lr, 0, 0.9 if lr > 1e-3 else 0.1, config={"batch_size": 128})
    drawn = draw(compare(load_records(sweep), load_blocks(blocks)))
    drawn.draw_without_rendering()
    left, right = (axes.findobj(lambda text: isinstance(text, Text) and text.get_weight() == "bold")[0] for axes in drawn.axes)
    assert left.get_window_extent().y0 == pytest.approx(right.get_window_extent().y0)
    lines = [axes.texts[0].get_text().count("\n") for axes in drawn.axes]
    assert lines[0] != lines[1]
    for axes in drawn.axes:  # and the lines end above the axes
        assert axes.texts[0].get_window_extent().y0 >= axes.bbox.y1


def test_the_figure_has_the_points_and_the_three_slopes(sweep, blocks):
    (comparison,) = comparisons = compare(load_records(sweep), load_blocks(blocks))
    (axes,) = draw(comparisons).get_axes()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert np.array([line.get_xydata()[0] for line in marks]) == pytest.approx(np.array(list(SHARP.values())))
    assert [line.get_markerfacecolor() for line in marks].count("white") == 1  # OLoRA, at the edge
    slopes = [np.polyfit(*np.log(line.get_xydata().T), 1)[0] for line in axes.lines if line.get_linestyle() != "None"]
    assert sorted(slopes) == pytest.approx(sorted([-1, -0.5, comparison.slope.value]))


def test_several_settings_are_several_panels(sweep, blocks, write, tmp_path):
    for variant, batch_size in itertools.product(("lora", "pissa", "dora"), (64, 128)):
        write(variant, 2e-3, 0, 0.9, config={"batch_size": batch_size})
    path = tmp_path / "figure.png"
    save(lambda: draw(compare(load_records(sweep), load_blocks(blocks))), path)
    image = imread(path)
    assert image.shape[0] > 1900 and image.shape[1] > 2000
    assert image[..., :3].std() > 0.05


def test_refuses_what_it_cannot_write(sweep, blocks, tmp_path):
    comparisons = compare(load_records(sweep), load_blocks(blocks))
    with pytest.raises(AnalysisError, match=r"must end in \.png, \.pdf, \.svg"):
        save(lambda: draw(comparisons), tmp_path / "figure.docx")
    with pytest.raises(AnalysisError, match="No such file or directory"):
        save(lambda: draw(comparisons), tmp_path / "missing" / "figure.png")


# ---- command


def analysis(*words):
    words = [sys.executable, "-m", "analysis", "sharpness", *map(str, words)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command(sweep, blocks, tmp_path):
    result = analysis(sweep, "--hessian", blocks)
    assert (result.returncode, result.stderr) == (0, "")
    expected = text(compare(load_records(sweep), load_blocks(blocks)))
    assert result.stdout == f"{expected}\n{sweep / 'sharpness.png'}\n"
    assert (sweep / "sharpness.png").is_file()
    assert analysis(sweep, "--hessian", blocks, "--out", tmp_path / "x.pdf").stdout.endswith("x.pdf\n")
    assert (tmp_path / "x.pdf").is_file()


def test_a_mistake_is_one_line_and_exit_code_2(sweep, blocks, tmp_path):
    (tmp_path / "empty").mkdir()
    for words in ([sweep, "--hessian", tmp_path / "empty"], [tmp_path / "empty", "--hessian", blocks]):
        result = analysis(*words)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("lorabench: ") and result.stderr.count("\n") == 1
