"""Records of schema 1 and 2 in one folder: what decides a result keeps cells apart, and nothing else does."""

import json

import pytest
from cell_records import rewrite

from analysis.read.load import load_records
from analysis.report.data import tree
from analysis.stats.curves import peaks

GROUPS = [{"name": "lora_A", "lr": 0.002, "parameters": 1000}, {"name": "lora_B", "lr": 0.032, "parameters": 2000}]


def part(node, **changed):
    """What a part of the config is in an identity: its settings, and the version of each of its classes."""
    target = f"lorabench.{node['name']}.Class"
    return {"_target_": target, "code": {target: 1, "lorabench.base.Base": 1}} | node | changed


def as_schema_2(path, every=None, identity=None, **parts):
    """Rewrite a record of the fixture as schema 2 has it; `identity` changes what decides it."""
    record = json.loads(path.read_text())
    probe = {"_target_": "hessian.along.Along", "name": "hessian", "every": every}
    record["config"] |= {"probe": probe if every else {"_target_": "lorabench.probes.none.NoProbe", "name": "none"}}
    config, before = record["config"], record["identity"]
    record |= {"schema_version": 2, "unheard_of": {"a": [1]}}
    record["identity"] = {
        "model": {"fingerprint": before["model"]["fingerprint"]},
        "task": part(config["task"], fingerprint=before["task"]["fingerprint"]),
        "variant": part(config["variant"]),
        "trainer": config["trainer"] | {"version": 1},
        "evaluator": part(config["evaluator"]),
        **{key: config[key] for key in ("lr", "batch_size", "rank", "seed", "train_samples", "epochs")},
        "train_fraction": 1,
    } | (identity or {})
    for key in ("model", "trainer", "evaluator"):  # of whose versions and files a config says nothing
        config[key] = config[key] | {
            name: record["identity"][key][name] for name in record["identity"][key].keys() - {"code", "version", "fingerprint"}
        }
    record["model"]["fingerprint"] = record["identity"]["model"]["fingerprint"]
    record["training"] |= {"groups": GROUPS[:1], "lr": [[1, [0.001]], [2, [0.002]]]}
    for key, value in parts.items():
        record[key] = record[key] | value if isinstance(record[key], dict) else value
    return rewrite(path, record)


@pytest.fixture
def old(write):
    """A cell of schema 1, whose record names the settings of its probe `hessian`."""
    path = write(seed=0, test=0.5)
    record = json.loads(path.read_text())
    record["identity"]["task"] |= {"_target_": "lorabench.arithmetic.Class", "version": 1}
    record["identity"]["variant"] = record["identity"]["variant"] | {"_target_": "lorabench.lora.Class"}
    record["config"]["hessian"] = {"_target_": "hessian.along.Along", "every": None, "samples": 32}
    return rewrite(path, record)


def test_both_are_one_curve(runs, write, old):
    as_schema_2(write(seed=1, test=0.7))
    frame = load_records(runs)
    assert frame[["variant", "options"]].drop_duplicates().to_numpy().tolist() == [["lora", ""]]
    [peak] = peaks(frame).to_dict("records")
    assert (peak["peak_mean"], peak["peak_n"]) == (0.6, 2)


def test_a_probe_and_knobs_set_nothing_apart(runs, write, old):
    as_schema_2(write(seed=1))
    path = as_schema_2(write(seed=2), every=10)
    record = json.loads(path.read_text())
    record["config"] |= {"device": "cuda:1", "save_adapter": True}
    record["config"]["trainer"] |= {"micro_batch_tokens": 1, "max_padding": 0.5, "checkpoint_minutes": 1}
    record["config"]["evaluator"] |= {"_target_": "x", "batch_tokens": 2}
    record["config"]["task"] |= {"path": "elsewhere", "train": {"path": "elsewhere"}}
    rewrite(path, record)
    # `train: {}`, what is left of it, has no option either.
    assert set(load_records(runs)["options"]) == {""}


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"model": {"fingerprint": "sha256:" + "d" * 64}}, "model.fingerprint=sha256:dddddddd"),
        ({"trainer": {"warmup_ratio": 0.1, "betas": [0.9, 0.999], "version": 1}}, "trainer.warmup_ratio=0.1"),
        ({"trainer": {"warmup_ratio": 0.03, "betas": [0.9, 0.999], "version": 2}}, "trainer.version=2"),
        ({"evaluator": part({"name": "mine", "temperature": 1})}, "evaluator=mine, evaluator.temperature=1"),
        (
            {
                "evaluator": part(
                    {"name": "lm_eval", "engine": {"engine": part({"name": "hf"}), "max_model_len": 64}, "limit": 20}
                )
            },
            "evaluator=lm_eval, evaluator.engine=hf, evaluator.engine.max_model_len=64, evaluator.limit=20",
        ),
    ],
)
def test_what_decides_a_result_sets_cells_apart(runs, write, old, change, options):
    as_schema_2(write(seed=1), identity=change)
    assert load_records(runs).set_index("seed")["options"][1] == options


def test_the_code_of_a_part_sets_cells_apart(runs, write):
    """A method that was edited is another method; of the same code, cells are one curve."""
    code = {"lorabench.lora.Class": "sha256:aaaa", "lorabench.base.Base": 1}
    for seed, version in enumerate(("sha256:aaaa", "sha256:aaaa", "sha256:bbbb")):
        path = write(seed=seed)
        config = json.loads(path.read_text())["config"]
        as_schema_2(path, identity={"variant": part(config["variant"], code=code | {"lorabench.lora.Class": version})})
    names = load_records(runs).set_index("seed")["variant"].to_dict()
    assert names == {0: "lora version=sha256:aaaa", 1: "lora version=sha256:aaaa", 2: "lora version=sha256:bbbb"}


def test_what_schema_1_wrote_down_though_it_was_the_default(runs, write, old):
    """Nulls, the rows that a source must have, and a time limit's factor of 1; schema 2 leaves them out."""
    record = json.loads(old.read_text())
    more = {"sets": None, "train": {"hub": "a/b", "rows": 5}, "timeout_factor": 1.0, "version": 3}
    record["identity"]["task"] |= more
    rewrite(old, record)
    path = write(seed=1)
    before = json.loads(path.read_text())["identity"]["task"]
    code = {"lorabench.arithmetic.Class": 3, "lorabench.base.Base": 1}
    as_schema_2(path, identity={"task": part(before, train={"hub": "a/b"}, code=code)})
    assert set(load_records(runs)["options"]) == {""}


def test_an_option_of_a_variant_is_part_of_its_name(runs, write, old):
    as_schema_2(write(seed=1, config={"variant": {"name": "lora", "alpha": 16}}))
    assert load_records(runs).set_index("seed")["variant"].to_dict() == {0: "lora alpha=8", 1: "lora alpha=16"}


def test_a_proxy_is_one(runs, write, old):
    path = as_schema_2(write(seed=1))
    record = json.loads(path.read_text())
    record["config"] |= {"train_fraction": 0.1, "subset": {"_target_": "x", "name": "tsds", "bandwidth": 0.3}}
    record["identity"] |= {"train_fraction": 0.1, "subset": part({"name": "tsds", "bandwidth": 0.3})}
    rewrite(path, record)
    row = load_records(runs, proxies=True).set_index("seed").loc[1]
    assert (row["train_fraction"], row["subset"], row["options"]) == (0.1, "tsds bandwidth=0.3", "")


def test_what_schema_2_lacks_is_told(runs, write, old, caplog):
    path = as_schema_2(write(seed=1))
    record = json.loads(path.read_text())
    del record["identity"]["trainer"]
    path = rewrite(path, record)
    assert len(load_records(runs)) == 1
    assert f"skipped {path}: identity.trainer is missing" in caplog.text


def test_the_page_shows_groups_where_there_are_several(runs, write, old, caplog):
    as_schema_2(write(seed=1))
    as_schema_2(write(seed=2), training={"groups": GROUPS})
    as_schema_2(write(seed=3), training={"groups": [{"name": "lora_A"}, {}]})
    shown = tree(load_records(runs))["cells"]
    place = shown["columns"].index("seed")
    groups = {row[place]: detail["groups"] for row, detail in zip(shown["rows"], shown["details"], strict=True)}
    assert groups == {0: [], 1: [], 2: [["lora_A", 0.002, 1000], ["lora_B", 0.032, 2000]], 3: []}
    assert "left out training.groups of" in caplog.text
