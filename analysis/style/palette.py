"""The order, colour, marker and line style of variants: fixed for the eleven of paper 1, the same in every table and figure.

Eight colours are those of Okabe and Ito (2008). Every two of all 21, spare ones too, stay at least 16 (CIELAB, CIE 1976)
apart in normal vision and under full protanopia, deuteranopia and tritanopia (Machado et al. 2009). Markers and line styles
keep the variants apart in grayscale print.
"""

import zlib
from collections.abc import Iterable, Mapping
from itertools import product
from typing import NamedTuple

LineStyle = str | tuple[int, tuple[int, ...]]
Marker = str | tuple[int, int, int]

SOLID: LineStyle = "-"
DASHED: LineStyle = (0, (5, 2))
DOTTED: LineStyle = (0, (1, 1))
DASH_DOT: LineStyle = (0, (5, 1, 1, 1))
LONG_DASHED: LineStyle = (0, (10, 3))
DASH_DOT_DOT: LineStyle = (0, (5, 1, 1, 1, 1, 1))


class Style(NamedTuple):
    """How a variant is drawn (matplotlib's names)."""

    color: str
    marker: Marker
    linestyle: LineStyle


STYLES = {
    "lora": Style("#000000", "o", SOLID),
    "rslora": Style("#0072B2", "s", DASHED),
    "pissa": Style("#D55E00", "^", SOLID),
    "milora": Style("#56B4E9", "v", DASH_DOT),
    "olora": Style("#CC79A7", "D", SOLID),
    "init_ab": Style("#882255", "P", DASHED),
    "lora_ga": Style("#E69F00", "X", DASH_DOT),
    "dora": Style("#009E73", "d", DASHED),
    "gralora": Style("#332288", "<", DASH_DOT),
    "randlora": Style("#7B68EE", ">", DOTTED),
    "loft": Style("#F0E442", "p", SOLID),
}
"""The known variants, in the order in which tables and legends list them."""

METHODS = {
    "random": Style("#999999", "s", DOTTED),
    "tpe": Style("#56B4E9", "v", DASHED),
    "gp": Style("#0072B2", "o", SOLID),
    "latent_gp": Style("#009E73", "d", DASHED),
    "nomad": Style("#CC79A7", "X", DASH_DOT),
    "language_bo": Style("#D55E00", "^", SOLID),
}
"""The known search methods, in the order of a legend."""

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The order in which matrices are listed: that of the forward pass."""

SPARE_COLORS = (
    "#774400", "#99AA55", "#662266", "#990033", "#EEAABB", "#8899FF", "#004422", "#EE3366", "#2244BB", "#99CC88",
)  # fmt: skip
"""Of names that are not known."""

LINES = (DOTTED, DASHED, DASH_DOT, SOLID, LONG_DASHED, DASH_DOT_DOT)
SPARE_MARKERS: tuple[Marker, ...] = ("*", (4, 1, 0), (3, 1, 0), (4, 1, 45), (3, 1, 180))
"""No known variant's: stars of five, four and three points, and the last two turned."""

LOOKS = [
    *((marker, line) for line, marker in product(LINES, SPARE_MARKERS)),
    *((style.marker, line) for line, style in product(LINES, STYLES.values())),
]
"""Markers and lines of names that are not known; the known markers are for where a colour has used up the others."""


def in_order(names: Iterable[str], first: Iterable[str] = STYLES) -> list[str]:
    """The names that `first` lists in its order, then the others by name."""
    rank = {name: index for index, name in enumerate(first)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def matrices_in_order(names: Iterable[str]) -> list[str]:
    """Those of `MATRICES` in their order, then the others by name."""
    return in_order(names, MATRICES)


def styles(variants: Iterable[str], fixed: Mapping[str, Style] = STYLES) -> dict[str, Style]:
    """A style for each variant, in order.

    `fixed` are the styles of known names. The colour of another name is that of what it has options of (`lora alpha=16`:
    LoRA's), else it follows from the name; so do marker and line. Where two names would have one colour, the second has the
    next that is free, as long as there are some, and then another marker.
    """
    chosen: dict[str, Style] = {}
    taken = set(fixed.values())
    colors = {name: style.color for name, style in fixed.items()}
    for name in in_order(variants, fixed):
        base = _base(name)
        if base not in colors:
            colors[base] = _free_color(base, set(colors.values()))
        chosen[name] = fixed.get(name) or _free(name, colors[base], taken)
        taken.add(chosen[name])
    return chosen


def _base(name: str) -> str:
    """What a name has options of, or the name itself."""
    base, _, options = name.partition(" ")
    return base if "=" in options else name


def _free_color(name: str, taken: set[str]) -> str:
    # crc32, for the built-in hash of a string changes from one process to the next.
    start = zlib.crc32(name.encode()) % len(SPARE_COLORS)
    colors = (*SPARE_COLORS[start:], *SPARE_COLORS[:start])
    return next((color for color in colors if color not in taken), colors[0])


def _free(name: str, color: str, taken: set[Style]) -> Style:
    first = len(SPARE_MARKERS) * len(LINES)
    start = zlib.crc32(name.encode()) % first
    looks = [Style(color, *look) for look in (*LOOKS[start:first], *LOOKS[:start], *LOOKS[first:])]
    # Where only markers are drawn, these alone tell names of one colour apart.
    drawn = {(style.color, style.marker) for style in taken}
    apart = [look for look in looks if (look.color, look.marker) not in drawn]
    return apart[0] if apart else next((look for look in looks if look not in taken), looks[0])


def method_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each search method, as `styles` has them for variants: `gp initial=9` has the colour of `gp`."""
    return styles(names, METHODS)
