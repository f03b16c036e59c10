"""Cells that differ in more than the axes must not pass for seeds of one another."""

import json

from cell_records import rewrite

from analysis.read.load import load_records


def test_a_differing_option_of_the_variant_becomes_part_of_its_name(runs, write):
    for alpha in (8, 16):
        write("lora", test=0.9, config={"variant": {"name": "lora", "alpha": alpha, "dropout": 0.1}})
    write("pissa", test=0.8)
    frame = load_records(runs)
    assert sorted(frame["variant"]) == ["lora alpha=16", "lora alpha=8", "pissa"]
    assert set(frame["options"]) == {""}


def test_variants_may_differ_from_each_other_in_their_options(runs, write):
    write("lora", config={"variant": {"name": "lora", "alpha": 8}})
    write("pissa", config={"variant": {"name": "pissa", "alpha": 16, "iterations": 4}})
    assert sorted(load_records(runs)["variant"]) == ["lora", "pissa"]


def test_any_other_differing_option_sets_settings_apart(runs, write):
    write(seed=0, config={"trainer": {"warmup_ratio": 0.03}})
    write(seed=1, config={"trainer": {"warmup_ratio": 0.1}})
    write(seed=2, config={"trainer": {}})
    assert sorted(load_records(runs)["options"]) == [
        "trainer.warmup_ratio=0.03",
        "trainer.warmup_ratio=0.1",
        "trainer.warmup_ratio=unset",
    ]


def test_settings_are_compared_only_with_themselves(runs, write):
    write(config={"rank": 8, "trainer": {"warmup_ratio": 0.03}})
    write(config={"rank": 64, "trainer": {"warmup_ratio": 0.1}})
    assert set(load_records(runs)["options"]) == {""}


def test_other_weights_or_data_set_settings_apart(runs, write):
    write(seed=0)
    for seed, group in [(1, "model"), (2, "task")]:
        path = write(seed=seed)
        record = json.loads(path.read_text())
        record["identity"][group]["fingerprint"] = "sha256:" + "c" * 64
        rewrite(path, record)
    assert load_records(runs).set_index("seed")["options"].to_dict() == {
        0: "model.fingerprint=sha256:aaaaaaaa, task.fingerprint=sha256:bbbbbbbb",
        1: "model.fingerprint=sha256:cccccccc, task.fingerprint=sha256:bbbbbbbb",
        2: "model.fingerprint=sha256:aaaaaaaa, task.fingerprint=sha256:cccccccc",
    }


def test_a_fingerprint_of_several_parts_keeps_them_all(runs, write):
    for seed, digit in enumerate("bc"):
        path = write(seed=seed)
        record = json.loads(path.read_text())
        record["identity"]["task"]["fingerprint"] = f"sha256:{'a' * 64} sha256:{digit * 64}"
        rewrite(path, record)
    assert load_records(runs)["options"].nunique() == 2


def test_where_and_how_fast_a_cell_ran_sets_nothing_apart(runs, write):
    """Every record of the fixture has another `config.output_dir`; `identity` has none."""
    for seed in (0, 1):
        write(seed=seed)
    assert set(load_records(runs)["options"]) == {""}


def test_random_weights_are_a_setting(runs, write):
    write(seed=0)
    write(seed=1, model={"fingerprint": "random:0", "weights": "random"})
    assert sorted(load_records(runs)["weights"]) == ["pretrained", "random"]
