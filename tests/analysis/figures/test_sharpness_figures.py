"""The figures of Hessian blocks."""

import itertools

import numpy as np
import pytest
from block_records import write
from matplotlib.colors import to_hex
from matplotlib.image import imread

from analysis.__main__ import main
from analysis.figures import sharpness_box, sharpness_layers, sharpness_samples
from analysis.read.blocks import load_blocks
from analysis.style.palette import STYLES


def curves(axes, variant):
    """The data of the line, and of the bars, of a variant in a panel."""
    color = STYLES[variant].color.lower()
    lines = [line for line in axes.lines if line.get_linestyle() != "None" and to_hex(line.get_color()) == color]
    bars = [bars for bars in axes.collections if len(bars.get_colors()) and to_hex(bars.get_colors()[0]) == color]
    return lines[0].get_xydata(), [segment[:, 1].tolist() for segment in bars[0].get_segments() if len(segment)]


def test_ratio_over_layers(folder):
    figure = sharpness_layers.draw(load_blocks(folder))
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


def test_no_line_crosses_layers_that_were_not_measured(tmp_path):
    for layer, variant in itertools.product((0, 1, 3), ("lora", "pissa")):
        write(tmp_path, variant, layer=layer, ratio=1.0 + layer)
    (axes,) = sharpness_layers.draw(load_blocks(tmp_path)).get_axes()
    xy, bars = curves(axes, "pissa")
    assert xy[:, 0].tolist() == [0, 1, 2, 3] and np.isnan(xy[:, 1]).tolist() == [False, False, True, False]
    assert len([bar for bar in bars if not np.isnan(bar).any()]) == 3


def test_several_seeds_are_one_point_with_bars_over_all(tmp_path):
    for seed, ratio in enumerate([2.0, 8.0, 4.0]):
        write(tmp_path, "pissa", ratio=ratio, seed=seed)
    (axes,) = sharpness_layers.draw(load_blocks(tmp_path)).get_axes()
    xy, bars = curves(axes, "pissa")
    assert xy.tolist() == [[0, 4]] and bars == [pytest.approx([1.8, 8.8])]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0]


def test_boxes_count_what_a_log_axis_cannot_show(folder):
    (axes,) = sharpness_box.draw(load_blocks(folder)).get_axes()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lora", "pissa", "milora\n2 ≤ 0"]
    points = {line.get_marker(): line.get_ydata() for line in axes.lines if line.get_linestyle() == "None"}
    assert len(points[STYLES["lora"].marker]) == 14 and len(points[STYLES["milora"].marker]) == 12
    assert sorted(points[STYLES["pissa"].marker]) == pytest.approx([0.1 * n for n in [*range(4, 11), *range(14, 21)]])
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_linewidth() == 2.5]
    assert medians == pytest.approx([0.1, 1.2, 0.2])


def test_samples_are_those_of_the_block_in_the_middle(folder):
    frame = load_blocks(folder)
    block = sharpness_samples.middle_block(frame)
    assert block["variant"].tolist() == ["lora", "pissa", "milora"]
    assert set(zip(block["matrix"], block["layer"], strict=True)) == {("q_proj", 1)}  # 1.5 is the middle of four layers
    (axes,) = sharpness_samples.draw(frame).get_axes()
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
    block = sharpness_samples.middle_block(load_blocks(folder))
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


@pytest.mark.parametrize("fill", [negative, alone, joint, two_settings])
@pytest.mark.parametrize("kind", ["layers", "box", "samples"])
def test_every_folder_gives_figures(tmp_path, capsys, fill, kind):
    fill(tmp_path)
    file = tmp_path / f"sharpness_{kind}.png"
    code, (out, err) = main(["plot", str(tmp_path), "--kind", f"sharpness_{kind}"]), capsys.readouterr()
    if fill is joint and kind == "layers":
        assert (code, out) == (2, "") and "joint blocks, which have no layer" in err and err.count("\n") == 1
        return
    assert (code, out, err) == (0, f"{file}\n", "")
    image = imread(file)
    assert image.shape[0] > 700 and image.shape[1] > 1200
    assert image[..., :3].std() > 0.03  # not a blank page


def test_joint_blocks_are_shown_only_where_there_is_nothing_else(folder):
    before = sharpness_box.read(folder)
    joint(folder)
    assert len(load_blocks(folder)) == len(before) + 1 == len(sharpness_box.read(folder)) + 1
