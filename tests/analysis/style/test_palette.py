"""One look per variant."""

from itertools import combinations

import numpy as np
import pytest

from analysis.read.journals import Search
from analysis.report.further import dashes, searches
from analysis.style.palette import LINES, LOOKS, METHODS, SPARE_COLORS, SPARE_MARKERS, STYLES, in_order, method_styles, styles

KNOWN = ["lora", "rslora", "pissa", "milora", "olora", "init_ab", "lora_ga", "dora", "gralora", "randlora", "loft"]
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Matrices on linear RGB, severity 1: Machado et al. 2009, table 1."""
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])


def lab(color, vision):
    """CIELAB (D65) of an sRGB colour as one of `VISIONS` sees it."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(np.array(VISIONS[vision]) @ linear, 0, 1) / XYZ.sum(axis=1)
    fx, fy, fz = (np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def test_cielab():
    assert lab("#FF0000", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert lab("#0000FF", "normal") == pytest.approx([32.30, 79.19, -107.86], abs=0.02)
    assert lab("#FFFFFF", "deuteranopia") == pytest.approx([100, 0, 0], abs=0.01)


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_stay_apart(vision):
    seen = {color: lab(color, vision) for color in [*(style.color for style in STYLES.values()), *SPARE_COLORS]}
    assert len(seen) == len(STYLES) + len(SPARE_COLORS)
    for a, b in combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) >= 16, (a, b)


def test_order():
    assert in_order(["zebra", "loft", "apple", "pissa", "lora", "pissa"]) == ["lora", "pissa", "loft", "apple", "zebra"]
    assert list(STYLES) == KNOWN


def test_a_known_variant_looks_the_same_in_any_company():
    assert styles(["pissa"])["pissa"] == styles([*KNOWN, "mine"])["pissa"] == STYLES["pissa"]
    assert STYLES["lora"].color == "#000000"


def test_variants_never_seen_are_told_apart_by_markers_alone():
    names = [f"method_{number}" for number in range(40)]
    looks = styles([*KNOWN, *names, *(f"{name} alpha=16" for name in names)])
    assert len({(style.color, style.marker) for style in looks.values()}) == len(looks) == len(KNOWN) + 80


def test_no_two_variants_share_a_color_or_a_marker():
    assert len({style.color for style in STYLES.values()}) == len(KNOWN)
    assert len({style.marker for style in STYLES.values()}) == len(KNOWN)
    assert not {style.marker for style in STYLES.values()} & set(SPARE_MARKERS)
    assert len(set(LOOKS)) == len(LOOKS) and len(set(LINES)) == 6


def test_an_unknown_variant_looks_the_same_where_no_other_one_has_its_colour():
    labels = [f"lora alpha={2**i}" for i in range(8)]
    alone = styles(["vera"])["vera"]
    for company in (labels, KNOWN, ["full"]):
        assert styles([*company, "vera"])["vera"] == alone
    # A pinned value: the style must not change from one process to the next.
    assert alone == (SPARE_COLORS[1], *LOOKS[11])


def test_ten_unknown_variants_have_ten_colours():
    names = ["adalora", "corda", "eva", "full", "lora_fa", "lora_one", "lora_pro", "loraplus", "melora", "vera"]
    looks = styles([*KNOWN, *names, "vera alpha=16"])
    assert len({looks[name].color for name in [*KNOWN, *names]}) == len(KNOWN) + 10
    assert looks["vera alpha=16"].color == looks["vera"].color


def test_options_of_a_variant_keep_its_colour():
    names = ["lora", "lora alpha=16", "lora alpha=32, dropout=0.1", "vera", "vera alpha=16"]
    looks = styles(names)
    assert {looks[name].color for name in names[:3]} == {"#000000"}
    assert looks["vera"].color == looks["vera alpha=16"].color == styles(["vera"])["vera"].color
    assert len(set(looks.values())) == len(names)


@pytest.mark.parametrize("name", ["lora alpha={}", "variant{}", "mine {}"])
def test_forty_eight_variants_are_told_apart(name):
    names = [*KNOWN, *(name.format(i) for i in range(48))]
    looks = styles(names)
    assert len(set(looks.values())) == len(names) and looks == styles(reversed(names))


def test_search_methods_look_the_same_in_figure_and_report():
    looks = method_styles(["tpe", "gp", "mine", "tpe"])
    assert list(looks) == ["tpe", "gp", "mine"] and looks["mine"].color in SPARE_COLORS
    of_one = method_styles(["gp initial=5", "gp initial=9", "gp"])
    assert {style.color for style in of_one.values()} == {METHODS["gp"].color}
    assert len(set(of_one.values())) == 3
    assert len({style.color for style in METHODS.values()}) == len({style.marker for style in METHODS.values()}) == len(METHODS)
    report = searches([Search(name, 0, "tiny", "k", 3, [0.5], [], {}) for name in ("gp", "tpe")])["methods"]
    assert [(entry["name"], entry["color"]) for entry in report] == [(name, METHODS[name].color) for name in ("tpe", "gp")]
    assert [entry["dash"] for entry in report] == [dashes(METHODS["tpe"]), ""] and report[0]["dash"]


def test_markers_alone_tell_options_of_a_variant_apart():
    """Some figures draw no lines: a star of its own for each, then the other variants' markers in this colour."""
    looks = styles(["lora", *(f"lora alpha={2**i}" for i in range(14))])
    assert len({style.marker for style in looks.values()}) == 15
