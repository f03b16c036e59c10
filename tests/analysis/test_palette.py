"""One look per variant."""

from analysis.html.further import searches
from analysis.journals import Search
from analysis.palette import METHODS, SPARE, STYLES, in_order, method_styles, styles

KNOWN = ["lora", "rslora", "pissa", "milora", "olora", "init_ab", "lora_ga", "dora", "gralora", "randlora", "loft"]


def test_order():
    assert in_order(["zebra", "loft", "apple", "pissa", "lora", "pissa"]) == ["lora", "pissa", "loft", "apple", "zebra"]
    assert list(STYLES) == KNOWN


def test_a_known_variant_looks_the_same_in_any_company():
    assert styles(["pissa"])["pissa"] == styles([*KNOWN, "mine"])["pissa"] == STYLES["pissa"]
    assert STYLES["lora"].color == "#000000"


def test_no_two_variants_share_a_color_or_a_marker():
    assert len({style.color for style in STYLES.values()}) == len(KNOWN)
    assert len({style.marker for style in STYLES.values()}) == len(KNOWN)
    assert not {style.marker for style in STYLES.values()} & {style.marker for style in SPARE}
    assert not {style.color for style in STYLES.values()} & {style.color for style in SPARE}


def test_unknown_variants_get_spare_styles_by_name():
    names = [f"variant {index}" for index in range(len(SPARE))]
    assert len(set(styles(names).values())) == len(SPARE)
    assert styles(names) == styles(reversed(names))
    # A pinned value: the style must not change from one process to the next.
    assert styles(["mine"])["mine"] == SPARE[11]
    assert set(styles([*names, "one too many"]).values()) == set(SPARE)


def test_search_methods_look_the_same_in_figure_and_report():
    found = method_styles(["tpe", "gp", "mine", "tpe"])
    assert list(found) == ["tpe", "gp", "mine"] and found["mine"] in SPARE
    of_one = method_styles(["gp initial=5", "gp initial=9", "gp"])
    assert {style.color for style in of_one.values()} == {METHODS["gp"].color}
    assert len({style.marker for style in of_one.values()}) == 3
    assert len({style.color for style in METHODS.values()}) == len({style.marker for style in METHODS.values()}) == len(METHODS)
    report = searches([Search(name, 0, "tiny", "k", 3, [0.5], [], {}) for name in ("gp", "tpe")])["methods"]
    assert [(one["name"], one["color"]) for one in report] == [(name, METHODS[name].color) for name in ("tpe", "gp")]
