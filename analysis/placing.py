"""Words beside their markers, where they hide nothing and cannot be taken for another marker's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.drawing import GREY, INK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox, Transform

Point = tuple[float, float]

FONT_SIZE = 8.5
PLACES = [(radius, angle) for radius in (9, 16, 24, 34, 46, 60) for angle in (0, 180, 90, 270, 45, 135, 225, 315)]
"""Where a word may stand, from its marker: points and degrees, the best first."""

LINKED = 12
"""Points; a word farther than that from its marker has a thin line to it."""

OVER, THROUGH, STRAY, ON_LINE = 1000, 300, 100, 12
"""What a place costs, in points of distance: for each marker or word below it or below its thin line, for being nearer to
another marker, for each line of the figure below it."""

AIR = 2.0
"""Points that stay free around a word."""

ROUNDS = 4
"""Each word is placed anew after all others have been, so often at most."""


class Mark(NamedTuple):
    """A marker and its word.

    Attributes:
        word: its name.
        point: data coordinates.
        place: the transform of the marker from there.
        room: the marker's, in pixels.
    """

    word: str
    point: Point
    place: Transform
    room: Bbox


class _Spot(NamedTuple):
    radius: int
    angle: int
    room: Bbox
    """Of the word, in pixels."""


def place_words(axes: Axes, marks: Sequence[Mark], lines: Sequence[Sequence[Point]]) -> None:
    """Write the word of each mark.

    Args:
        axes: with their final limits and place in the figure.
        marks: all of them.
        lines: what else is drawn, as polylines in pixels.
    """
    spots = [_spots(axes, mark) for mark in marks]
    chosen = [choices[0] for choices in spots]
    for number in range(ROUNDS):
        before = list(chosen)
        for index, choices in enumerate(spots):
            # In the first round the words to come have no place yet.
            others = [spot.room for i, spot in enumerate(chosen) if i < index or (number and i != index)]
            chosen[index] = min(choices, key=lambda spot: _cost(spot, index, marks, others, lines))
        if chosen == before:
            break
    for mark, spot in zip(marks, chosen, strict=True):
        _write(axes, mark, spot.radius, spot.angle)


def _write(axes: Axes, mark: Mark, radius: int, angle: int) -> Any:
    from matplotlib.patheffects import withStroke

    right, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return axes.annotate(
        mark.word,
        mark.point,
        (radius * right, radius * up),
        xycoords=mark.place,
        textcoords="offset points",
        ha="center" if abs(right) < 0.1 else "left" if right > 0 else "right",
        va="center" if abs(up) < 0.1 else "bottom" if up > 0 else "top",
        fontsize=FONT_SIZE,
        color=INK,
        path_effects=[withStroke(linewidth=2, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkB": 4} if radius > LINKED else None,
    )


def _spots(axes: Axes, mark: Mark) -> list[_Spot]:
    """Those inside the axes; the best one where none is."""
    from matplotlib.text import Text

    found = []
    for radius, angle in PLACES:
        text = _write(axes, mark, radius, angle)
        text.get_window_extent()  # puts the words in their place; what it returns includes the thin line
        found.append(_Spot(radius, angle, Text.get_window_extent(text).padded(AIR * axes.figure.dpi / 72)))
        text.remove()
    frame = axes.bbox
    inside = [
        s for s in found if frame.x0 <= s.room.x0 and s.room.x1 <= frame.x1 and frame.y0 <= s.room.y0 and s.room.y1 <= frame.y1
    ]
    return inside or found[:1]


def _cost(spot: _Spot, index: int, marks: Sequence[Mark], words: Sequence[Bbox], lines: Sequence[Sequence[Point]]) -> float:
    from matplotlib.path import Path

    own, others = marks[index].room, [mark.room for i, mark in enumerate(marks) if i != index]
    taken = [*others, *words]
    cost = spot.radius + OVER * spot.room.count_overlaps(taken)
    cost += ON_LINE * sum(Path(line).intersects_bbox(spot.room, filled=False) for line in lines)
    if spot.radius > LINKED:
        link = Path([_centre(own), _nearest(spot.room, _centre(own))])
        cost += THROUGH * sum(link.intersects_bbox(room, filled=False) for room in taken)
    elif any(_distance(spot.room, room) < _distance(spot.room, own) for room in others):
        cost += STRAY
    return cost


def _centre(box: Bbox) -> Point:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _nearest(box: Bbox, point: Point) -> Point:
    """The point of the box nearest to another one."""
    return min(max(point[0], box.x0), box.x1), min(max(point[1], box.y0), box.y1)


def _distance(word: Bbox, marker: Bbox) -> float:
    centre = _centre(marker)
    return math.dist(centre, _nearest(word, centre))
