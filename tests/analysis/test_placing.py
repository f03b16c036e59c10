"""Words beside their markers."""

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.placing import Mark, place_words


def placed(places, lines=()):
    """Words of markers at places in pixels, as (left, right) of each."""
    figure = Figure(figsize=(6, 4), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 432), ylim=(0, 288))
    figure.draw_without_rendering()
    marks = [Mark(word, at, axes.transData, Bbox.from_bounds(at[0] - 4.5, at[1] - 4.5, 9, 9)) for word, at in places.items()]
    place_words(axes, marks, lines)
    figure.draw_without_rendering()
    return {text.get_text(): Text.get_window_extent(text) for text in axes.texts}


def test_a_word_alone_stands_to_the_right():
    assert placed({"lora": (200, 100)})["lora"].x0 == pytest.approx(209, abs=1)


def test_a_word_is_not_so_near_to_another_marker_that_it_could_be_its():
    width = placed({"lora": (200, 100)})["lora"].width
    # Free, but nearer to the second marker than to its own.
    words = placed({"lora": (200, 100), "pissa": (200 + 9 + width + 7, 100)})
    assert words["lora"].x1 < 200
    assert placed({"lora": (200, 100), "pissa": (200 + 9 + width + 30, 100)})["lora"].x0 > 200


def test_a_word_at_the_edge_stays_inside_and_off_a_line():
    assert placed({"lora": (420, 100)})["lora"].x1 < 420
    words = placed({"lora": (200, 100)}, lines=[[(205, 0), (205, 288)], [(200, 100), (432, 100)]])
    assert words["lora"].x1 < 200
