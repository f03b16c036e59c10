"""The fixed order, colour, marker and line style of every variant, the same in every table and figure.

Eight colours are those of Okabe and Ito (2008); with the other three, every two stay at least 16 (CIELAB, CIE 1976) apart
in normal vision and under full protanopia, deuteranopia and tritanopia (Machado et al. 2009). Markers and line styles
keep the variants apart in grayscale print.
"""

from __future__ import annotations

import zlib
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LineStyle = str | tuple[int, tuple[int, ...]]

SOLID: LineStyle = "-"
DASHED: LineStyle = (0, (5, 2))
DOTTED: LineStyle = (0, (1, 1))
DASH_DOT: LineStyle = (0, (5, 1, 1, 1))


class Style(NamedTuple):
    """How a variant is drawn (matplotlib's names)."""

    color: str
    marker: str
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

SPARE = [
    Style(color, marker, linestyle)
    for (marker, linestyle), color in product(
        [("*", DOTTED), ("h", DASHED), ("8", DASH_DOT), ("H", SOLID)], ["#117733", "#AA4499", "#6699CC", "#8C6D31", "#661100"]
    )
]
"""Styles for variants that are not in `STYLES`."""


METHODS = {
    "random": Style("#999999", "s", ":"),
    "tpe": Style("#56B4E9", "v", "--"),
    "gp": Style("#0072B2", "o", "-"),
    "latent_gp": Style("#009E73", "d", "--"),
    "nomad": Style("#CC79A7", "X", "-."),
    "language_bo": Style("#D55E00", "^", "-"),
}
"""The known search methods, in the order of a legend."""


def in_order(variants: Iterable[str]) -> list[str]:
    """Known variants in the order of `STYLES`, then the others by name."""
    rank = {name: index for index, name in enumerate(STYLES)}
    return sorted(set(variants), key=lambda name: (rank.get(name, len(rank)), name))


def styles(variants: Iterable[str]) -> dict[str, Style]:
    """A style for each variant, in order.

    An unknown variant's style follows from its name; the next spare one is taken where two names meet, so that no two
    variants look alike until the spare styles run out.
    """
    chosen: dict[str, Style] = {}
    taken: set[int] = set()
    for name in in_order(variants):
        if name in STYLES:
            chosen[name] = STYLES[name]
            continue
        # crc32, for the built-in hash of a string changes from one process to the next.
        index = zlib.crc32(name.encode()) % len(SPARE)
        while index in taken and len(taken) < len(SPARE):
            index = (index + 1) % len(SPARE)
        taken.add(index)
        chosen[name] = SPARE[index]
    return chosen


def method_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each search method, the known ones in order, then the others as `styles` has them.

    A method with settings, `gp initial=9`, has the method's colour and a marker and line of its own, from `SPARE` in order.
    """
    wanted = set(names)
    known = {name: style for name, style in METHODS.items() if name in wanted}
    for method, style in METHODS.items():
        settings = sorted(name for name in wanted if name.startswith(f"{method} "))
        looks = dict.fromkeys((spare.marker, spare.linestyle) for spare in SPARE)
        known |= {name: Style(style.color, *look) for name, look in zip(settings, looks, strict=False)}
    return known | styles(wanted - set(known))
