"""Records that say two things: each is named in one line and left out."""

import json

import pytest

from analysis.read.form import check_record
from analysis.read.load import load_records

CASES = [
    ("config.lr", 6e-3, "config.lr is 0.006, but identity has 0.002"),
    ("config.seed", 7, "config.seed is 7, but identity has 0"),
    ("config.train_samples", None, "config.train_samples is None, but identity has 2400"),
    ("config.variant.name", "pissa", "config.variant.name is 'pissa', but identity has 'lora'"),
    ("config.task.name", "math", "config.task.name is 'math', but identity has 'arithmetic'"),
    ("config.variant.alpha", 16, "config.variant.alpha is 16, but identity has 8"),
    ("config.trainer.betas", [0.9, 0.95], "config.trainer.betas is [0.9, 0.95], but identity has [0.9, 0.999]"),
    ("config.data_seed", 3, "config.data_seed is 3, but identity has 0"),
    ("config.train_fraction", 0.5, "config.train_fraction is 0.5, but identity has 1"),
    ("identity.model.fingerprint", "sha256:c", "but its identity has the hash"),
    ("identity.variant.gamma", 2, "but its identity has the hash"),
    ("id", "0123456789abcdef", "but its identity has the hash"),
    ("metrics.test.mean", 0.95, "metrics.test.mean is 0.95, but its sets have 0.9"),
    ("metrics.test.sets.arithmetic.score", 0.95, "metrics.test.mean is 0.9, but its sets have 0.95"),
    ("metrics.validation.mean", 0.95, "metrics.validation.mean is 0.95, but its sets have 0.9"),
    ("validation_metric.value", 0.95, "validation_metric.value is 0.95, but metrics.validation.mean is 0.9"),
    ("status", "diverged", "status is diverged, but metrics has 0.9"),
    ("status", "failed", "status is failed, but metrics has scores"),
    ("metrics", None, "metrics.test.mean is missing"),
]


@pytest.mark.parametrize(("key", "value", "reason"), CASES)
def test_a_record_that_contradicts_itself_is_left_out_in_one_line(runs, write, change, caplog, key, value, reason):
    write(seed=5, test=0.5)
    path = write()
    assert len(load_records(runs)) == 2
    if key in ("config.data_seed", "config.train_fraction", "identity.variant.gamma"):  # which the record has not
        record = json.loads(path.read_text())
        part, _, last = key.rpartition(".")
        tree = record
        for name in part.split("."):
            tree = tree[name]
        tree[last] = value
        path.write_text(json.dumps(record))
    else:
        change(path, key, value)
    frame = load_records(runs)
    assert frame["test"].tolist() == [0.5] and frame.attrs["skipped"] == 1
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith(f"skipped {path}: ")
    assert reason in caplog.messages[0]


def test_a_copy_may_have_a_folder_of_another_name_where_it_is_only_read(runs, write, caplog):
    path = write()
    record = json.loads(path.read_text())
    path.parent.rename(runs / "copy")
    assert load_records(runs)["seed"].tolist() == [0] and not caplog.messages
    with pytest.raises(ValueError, match=f"id is '{record['id']}', but its folder is 'copy'"):
        check_record(record, "copy")


def test_a_class_of_ones_own_may_make_something_else_of_its_settings(runs, write):
    """Its marks say what of a setting decides; the package's own are known."""
    for target in ("mine.LoRA", "lorabench.variants.lora.LoRA"):
        path = write(config={"variant": {"_target_": target, "name": "mine", "size": "long"}})
        record = json.loads(path.read_text())
        record["config"]["variant"]["size"] = "other"
        if target == "mine.LoRA":
            check_record(record, record["id"])
        else:
            with pytest.raises(ValueError, match=r"config\.variant\.size"):
                check_record(record, record["id"])


def test_a_number_that_json_cannot_hold_leaves_the_hash_as_it_was(write):
    path = write(config={"trainer": {"max_grad_norm": float("inf"), "other": None}})
    record = json.loads(path.read_text())
    for tree in (record["config"], record["identity"]):
        tree["trainer"]["max_grad_norm"] = None  # as records are written
    check_record(record, record["id"])
    record["identity"]["trainer"]["max_grad_norm"] = record["config"]["trainer"]["max_grad_norm"] = 1.0
    with pytest.raises(ValueError, match="its identity has the hash"):
        check_record(record, record["id"])
