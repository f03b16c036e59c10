"""The figure of learning-rate curves."""

from itertools import combinations, pairwise

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.text import Text

from analysis.errors import AnalysisError
from analysis.figures import _over
from analysis.figures.heatmap import draw as heatmap
from analysis.figures.lr_curves import draw as lr_curves
from analysis.figures.pareto import Point, front, points
from analysis.figures.pareto import draw as pareto
from analysis.figures.search import draw as progress
from analysis.read.load import load_records
from analysis.style.drawing import INK, marker, save
from analysis.style.palette import STYLES

SCORES = {2e-4: 0.1, 6e-4: 0.8, 2e-3: 0.9, 6e-3: 0.4}


@pytest.fixture
def sweep(runs, write):
    """Two settings: rank 8 with two variants and two seeds, rank 64 with one variant and one seed."""
    for lr, score in SCORES.items():
        for seed in (0, 1):
            write("pissa", lr, seed, score + 0.04 * seed)
            write("lora", lr, seed, score)
        write("pissa", lr, 0, score, config={"rank": 64})
    return runs


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "PNG"])
def test_writes_an_image(sweep, tmp_path, suffix):
    path = tmp_path / f"figure.{suffix}"
    save(lambda: lr_curves(load_records(sweep)), path)
    assert path.stat().st_size > 5000
    if suffix == "png":
        image = imread(path)
        assert image.shape[0] > 500
        assert image.shape[1] > 1000
        assert image[..., :3].std() > 0.05  # not a blank page


def test_refuses_what_it_cannot_write(sweep, tmp_path):
    frame = load_records(sweep)
    with pytest.raises(AnalysisError, match=r"must end in \.png, \.pdf, \.svg"):
        save(lambda: lr_curves(frame), tmp_path / "figure.docx")
    with pytest.raises(AnalysisError, match="No such file or directory"):
        save(lambda: lr_curves(frame), tmp_path / "missing" / "figure.png")


def lines_of(axes, color):
    return [line for line in axes.lines if line.get_linestyle() != "None" and to_hex(line.get_color()) == color.lower()]


def test_one_panel_a_setting_and_one_fixed_color_a_variant(sweep):
    figure = lr_curves(load_records(sweep))
    curves, _, shared, _ = figure.axes
    assert curves.get_xscale() == "log"
    for axes in (curves, shared):
        (line,) = lines_of(axes, STYLES["pissa"].color)
        assert line.get_xdata().tolist() == list(SCORES)
    (line,) = lines_of(curves, STYLES["pissa"].color)
    assert line.get_ydata().tolist() == pytest.approx([100 * score + 2 for score in SCORES.values()])
    assert len(lines_of(curves, STYLES["lora"].color)) == 1
    assert lines_of(shared, STYLES["lora"].color) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lora", "pissa", "base model"]


def test_band_is_one_standard_deviation(sweep):
    curves = lr_curves(load_records(sweep)).axes[0]
    _, pissa = curves.collections
    # Seeds 0.9 and 0.94: mean 92, sample standard deviation 4 / √2 points.
    assert pissa.get_datalim(curves.transData).y1 == pytest.approx(92 + 4 / 2**0.5)


def test_best_range_bar(runs, write):
    for lr, score in [(1e-4, 0.5), (2e-4, 0.9), (4e-4, 0.905), (8e-4, 0.1)]:
        write("lora", lr, 0, score)
    bars = lr_curves(load_records(runs)).axes[1]
    bar, marker = bars.lines
    assert list(bar.get_xdata()) == [2e-4, 4e-4]
    assert list(marker.get_xdata()) == [4e-4]


@pytest.mark.parametrize("hollow", [True, False])
def test_a_peak_at_the_edge_is_hollow(runs, write, hollow):
    for lr, score in [(1e-4, 0.1), (2e-4, 0.9), (4e-4, 0.95 if hollow else 0.2)]:
        write("pissa", lr, 0, score)
    peak = max(lr_curves(load_records(runs)).axes[0].lines, key=lambda line: line.get_markersize())
    assert (peak.get_markerfacecolor() == "white") == hollow


def test_a_peak_of_fewer_seeds_says_how_many(sweep, write):
    write("lora", 1e-3, 0, 0.99)
    texts = [text.get_text() for text in lr_curves(load_records(sweep)).axes[0].texts]
    assert "n=1" in texts


def test_degenerate_sweeps_are_drawn(runs, write, tmp_path):
    write("lora", 1e-3, 0, status="diverged", base=None)
    save(lambda: lr_curves(load_records(runs)), tmp_path / "figure.png")


def test_equal_learning_rates_over_the_rank_stand_side_by_side(runs, write):
    for rank in (8, 64):
        for variant in ("lora", "pissa", "dora"):
            for lr, score in SCORES.items():
                write(variant, lr, 0, score, config={"rank": rank})
    _, lrs = _over.draw("rank", load_records(runs)).axes
    lines = [line for line in lrs.lines if line.get_linestyle() != "None"]
    starts = [line.get_xdata()[0] for line in lines]
    assert len(set(starts)) == 3 and starts == pytest.approx([8] * 3, rel=0.08)
    assert {tuple(line.get_ydata()) for line in lines} == {(2e-3, 2e-3)}


@pytest.mark.parametrize("batches", [(8, 32), (4, 8, 16, 32, 64)])
def test_no_variant_hides_another_s_best_learning_rate(runs, write, batches):
    for batch in batches:
        for variant in STYLES:
            for lr, score in SCORES.items():
                write(variant, lr, 0, score, config={"batch_size": batch})
    figure = _over.draw("batch_size", load_records(runs))
    figure.draw_without_rendering()
    _, lrs = figure.axes
    markers = [line for line in lrs.lines if line.get_linestyle() == "None"]
    at = sorted(lrs.transData.transform(line.get_xydata()[0])[0] * 72 / figure.dpi for line in markers)
    assert len(at) == len(STYLES) * len(batches)
    assert min(b - a for a, b in pairwise(at)) > 6  # points, the size of a marker
    assert lrs.bbox.x0 * 72 / figure.dpi < at[0] - 3 and at[-1] + 3 < lrs.bbox.x1 * 72 / figure.dpi


def test_learning_rate_axes_are_labelled_at_the_tried_rates(runs, write):
    for rank in (8, 64):
        for lr, score in {1e-5: 0.0, 3.557e-4: 0.7, 6.325e-4: 0.8, 1.125e-3: 0.6}.items():
            write("lora", lr, 0, score, config={"rank": rank})
    frame = load_records(runs)
    _, lrs = _over.draw("rank", frame).axes
    low, high = lrs.get_ylim()
    assert low < 3.557e-4 and 1.125e-3 < high < 2e-3 and low > 1e-5  # one tried rate on each side of the best one
    assert [label.get_text() for label in lrs.get_yticklabels()] == ["3.557e-4", "6.325e-4", "1.125e-3"]
    _, bars, *_ = lr_curves(frame).axes
    assert list(bars.get_xticks()) == [1e-5, 3.557e-4, 6.325e-4, 1.125e-3]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["1e-5", "3.557e-4", "", "1.125e-3"]  # no room for all


def test_epochs_over_all_samples_are_an_axis_apart_from_numbers_of_samples(runs, write):
    for samples, epochs in [(400, 1), (800, 1), (800, 2), (None, 1), (None, 2), (None, 3)]:
        for lr, score in SCORES.items():
            write("lora", lr, 0, score - 0.01 * epochs, config={"train_samples": samples, "epochs": epochs})
    figure = _over.draw("duration", load_records(runs))
    labels = [(lower.get_xlabel(), [label.get_text() for label in lower.get_xticklabels()]) for lower in figure.axes[1::2]]
    assert sorted(labels) == [("epochs", ["1", "2", "3"]), ("samples × epochs", ["400", "800", "1600"])]
    assert sum("all samples" in text for text in words_of(figure)) == 1


def test_one_number_of_epochs_over_all_samples_is_no_axis(runs, write):
    for lr, score in SCORES.items():
        write("lora", lr, 0, score, config={"train_samples": None})
        write("lora", lr, 0, score)
    with pytest.raises(AnalysisError, match="more than one value of samples × epochs, or, of all samples, of epochs"):
        _over.draw("duration", load_records(runs))


def test_a_long_setting_is_wrapped_below_its_title(runs, write):
    for decay in (0, 0.1):
        write("lora", 2e-3, 0, 0.9, config={"trainer": {f"option_{i}": decay for i in range(9)}})
    figure = lr_curves(load_records(runs))
    figure.draw_without_rendering()
    for axes in figure.axes[::2]:
        words = next(text for text in axes.texts if "option_8" in text.get_text()).get_window_extent()
        title = next(text for text in axes.findobj(Text) if text.get_text() == axes.get_title("left")).get_window_extent()
        assert words.x1 < figure.bbox.x1 and words.y1 <= title.y0 and title.y1 < figure.bbox.y1


def words_of(figure):
    """Rooms of all words of a drawn figure, in pixels."""
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return {text.get_text(): text.get_window_extent() for text in shown}


@pytest.mark.parametrize("variants", [["pissa"], list(STYLES), [f"lora alpha={2**i}, dropout=0.{i}" for i in range(8)]])
def test_a_heat_map_s_titles_are_whole_and_apart(runs, write, variants):
    for variant in variants:
        for batch in (8, 16):
            for lr, score in SCORES.items():
                write(variant, lr, 0, score, config={"batch_size": batch})
    figure = heatmap(load_records(runs))
    assert figure.get_figwidth() < 16
    words = words_of(figure)
    assert all(figure.bbox.x0 <= room.x0 and room.x1 <= figure.bbox.x1 for room in words.values())
    titles = [room for text, room in words.items() if text.replace("\n", " ").split(" 90.00")[0].strip() in variants]
    assert len(titles) == len(variants)
    assert not any(a.overlaps(b) for a, b in combinations(titles, 2))
    assert "learning rate" in words


def test_the_axis_of_a_search_s_progress_leaves_room_for_late_differences():
    paths = {"random": [0.02] + 11 * [0.80], "tpe": [0.02] + 5 * [0.80] + 6 * [0.84]}
    rows = [
        {"space": "s", "problem": "tiny", "method": name, "file": name, "number": number, "best": best}
        for name, scores in paths.items()
        for number, best in enumerate(scores, 1)
    ]
    figure = progress(pd.DataFrame(rows))
    low, high = figure.axes[0].get_ylim()
    assert 75 < low < 80 and 84 < high < 90
    assert "may be below it" in figure._supxlabel.get_text().replace("\n", " ")
    level = progress(pd.DataFrame([row | {"best": 0.5 + row["number"] / 100} for row in rows]))
    assert level.axes[0].get_ylim()[0] < 51 and "below it" not in level._supxlabel.get_text()


def test_light_colours_are_outlined():
    """Loft's yellow on white is lost in print without a dark line around it."""
    for hollow in (True, False):
        drawn = marker(STYLES["loft"], 6, hollow=hollow)
        outlines = [effect for effect in drawn.get("path_effects", []) if effect._gc["foreground"] == INK]
        assert outlines or drawn["markeredgecolor"] == INK


def trained(seconds):
    return {"training": {"steps": 150, "seconds": seconds, "loss": [[1, 2.3]]}}


def test_the_cost_of_a_variant_is_that_of_cells_that_finished(runs, write):
    for seed in range(5):
        write("lora", 2e-3, seed, 0.9, **trained(30.0 + seed))
        write(
            "pissa",
            2e-3,
            seed,
            0.8 * (seed > 2),
            status="complete" if seed > 2 else "diverged",
            **trained(60 if seed > 2 else 3),
        )
    costs = {point.variant: point.cost for point in points(load_records(runs))}
    assert costs == {"lora": 32, "pissa": 60}


def test_the_front_is_what_no_other_beats_in_both():
    """Of equal costs the better, of equal scores the cheaper, whatever the order."""
    given = [
        Point("dear", 9, 0.95, 0.1), Point("cheap", 1, 0.5, 0.1), Point("cheap too", 1, 0.4, 0.1), Point("beaten", 5, 0.6, 0.1),
        Point("middle", 4, 0.7, 0.1), Point("as good", 7, 0.7, 0.1),
    ]  # fmt: skip
    for order in (given, given[::-1], sorted(given)):
        assert [point.variant for point in front(order)] == ["cheap", "middle", "dear"]


def test_a_front_of_one_variant_is_drawn_to_the_right_edge(runs, write):
    for lr, lora, pissa in ((2e-4, 0.5, 0.3), (2e-3, 0.9, 0.8), (2e-2, 0.2, 0.85)):
        write("lora", lr, 0, lora, **trained(10))
        write("pissa", lr, 0, pissa, **trained(20))
    [axes] = pareto(load_records(runs)).axes
    [step] = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert step.get_xydata().tolist() == [[10, 90], [axes.get_xlim()[1], 90]] and axes.get_xlim()[1] > 20
    lora, pissa = (line for line in axes.lines if line is not step)
    assert lora.get_markerfacecolor() == STYLES["lora"].color and pissa.get_markerfacecolor() == "white"


@pytest.mark.parametrize("draw", [lr_curves, lambda frame: _over.draw("batch_size", frame)], ids=["lr_curves", "batch"])
def test_the_parts_of_a_panel_stand_as_close_in_many_rows_as_in_one(runs, write, draw):
    """The layout's gap is a part of the figure: of a high one it left nothing for the axes, and a warning."""

    def inches(figure):
        figure.draw_without_rendering()
        upper, lower = figure.axes[:2]
        return figure.get_figheight() * (upper.get_position().y0 - lower.get_position().y1)

    def add(task):
        for batch in (8, 16):
            for lr in (2e-3, 6e-3):
                write("lora", lr, 0, 100 * lr, config={"batch_size": batch, "task": {"name": task}})

    add("first")
    alone = inches(draw(load_records(runs)))
    for number in range(23):
        add(f"task {number}")
    assert 0 < inches(draw(load_records(runs))) < alone + 0.05


LONG = "a task of a long name " * 14


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("variant", "task"), [(r"$\frac{$", r"$\sqrt{$"), ("dora " * 60, LONG)])
@pytest.mark.parametrize("draw", [lr_curves, heatmap, pareto, lambda frame: _over.draw("batch_size", frame)])
def test_names_of_records_may_be_long_and_are_no_formulas(runs, write, draw, variant, task):
    for name in ("lora", variant.strip()):
        for batch in (8, 16):
            for lr, score in SCORES.items():
                config = {"batch_size": batch, "task": {"name": task.strip()}}
                write(name, lr, 0, score, config=config, **trained(5))
    figure = draw(load_records(runs))
    shown = words_of(figure)
    assert all(axes.get_window_extent().width > 100 for axes in figure.axes if axes.get_xlabel() == "learning rate")
    if task == LONG:
        assert any("…" in text for text in shown)
    else:
        assert any(r"\$\sqrt{\$" in text for text in shown)


def test_names_of_searches_may_be_long_and_are_no_formulas():
    for name in (r"$\frac{$", "x" * 300 + " " + "y" * 300):
        row = {"space": "s", "problem": name, "method": "gp", "file": 0}
        words_of(progress(pd.DataFrame([row | {"number": n, "best": 0.1 * n} for n in (1, 2)])))


def test_a_heat_map_tells_its_signs(runs, write):
    for batch, best in ((8, 2e-3), (16, 6e-3)):
        for lr in (2e-4, 2e-3, 6e-3):
            write("lora" if batch == 8 else "pissa", lr, 0, 0.9 if lr == best else 0.5, config={"batch_size": batch})
    figure = heatmap(load_records(runs))
    label = figure._supxlabel.get_text().replace("\n", " ")
    assert "White: not run" in label and "Frame: the best cell, dashed where" in label
    inside, edge = (axes.patches[0].get_linestyle() for axes in figure.axes[:2])
    assert inside != edge
