"""Pushing an adapter: to a hub that speaks HTTP here; the card names the base by its hub id, and no place of this machine."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from lorabench.console import push
from lorabench.provenance import version
from lorabench.records.card import ADAPTER, CHECKPOINT, MERGED, card, kind_of, without_places

sys.path.insert(0, str(Path(__file__).parent))
from hub import Hub

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_secret_of_this_test"


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def trained(script, quick, tmp_path_factory):
    """A cell of a model in a folder, with its adapter saved."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(ROOT / "lorabench" / "tiny" / "checkpoint", folder / "mymodel")
    words = [
        f"model.path={folder / 'mymodel'}",
        "variant=pissa",
        "lr=1e-3",
        "save_adapter=true",
        f"output_dir={folder / 'runs'}",
    ]
    done = script("run", *words, *quick, cwd=folder)
    assert done.returncode == 0, done.stderr
    [record] = (folder / "runs").glob("*/record.json")
    return record.parent


@pytest.fixture
def record(trained):
    return json.loads((trained / "record.json").read_text())


def environment(hub, tmp_path):
    """Variables of a process that may push to the hub of a test, with nothing of this machine's settings."""
    offline = dict.fromkeys(["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"])
    places = {"HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path), "NO_PROXY": "*"}
    return offline | places | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}


def of_card(text):
    """The metadata and the rest of a card."""
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_save_adapter_leaves_a_card_that_names_no_place(trained, record):
    text = (trained / "adapter" / "README.md").read_text()
    assert text == card(record, ADAPTER)
    assert str(trained.parents[1]) not in text and "mymodel" not in text
    metadata, body = of_card(text)
    assert "base_model" not in metadata and metadata["library_name"] == "peft"
    assert f"A local model, whose files have the fingerprint `{record['model']['fingerprint']}`." in body
    assert "# pissa on arithmetic: adapter for a local model" in body
    assert f"lorabench {version()}, cell `{record['id']}`" in body


def test_what_is_pushed_loads_as_what_was_saved_and_no_token_stays(script, hub, trained, record, tmp_path):
    done = script("push", str(trained), "me/adapter", cwd=tmp_path, **environment(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/me/adapter\n"
    assert hub.made == [{"name": "adapter", "organization": "me"}]
    assert hub.authorisations == {f"Bearer {TOKEN}"}
    assert sorted(hub.files) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert hub.files["adapter_model.safetensors"] == (trained / "adapter" / "adapter_model.safetensors").read_bytes()
    assert hub.files["README.md"].decode() == card(record, ADAPTER, "me/adapter")
    config = json.loads(hub.files["adapter_config.json"])
    saved = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    assert config == saved | {"base_model_name_or_path": None}
    assert not any(str(trained.parents[1]).encode() in content for content in hub.files.values())
    assert TOKEN not in done.stdout + done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    for name, content in hub.files.items():
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    ids = torch.arange(1, 20)[None]
    logits = []
    for place in (trained / "adapter", tmp_path / "there"):
        base = AutoModelForCausalLM.from_pretrained(trained.parents[1] / "mymodel", dtype=torch.float32)
        before = base(ids).logits
        logits.append(PeftModel.from_pretrained(base, str(place))(ids).logits)
    assert torch.equal(*logits) and not torch.equal(logits[0], before)


def test_a_private_repository_of_ones_own_name(script, hub, trained, tmp_path):
    done = script("push", str(trained), "adapter", "--private", cwd=tmp_path, **environment(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    assert hub.made == [{"name": "adapter", "organization": None, "visibility": "private"}]
    assert done.stdout == f"{hub.url}/me/adapter\n" and "README.md" in hub.files


def test_a_refusal_is_one_line_without_the_token(script, hub, trained, tmp_path):
    hub.refuse = f"the token {TOKEN} may not write"
    done = script("push", str(trained), "other/adapter", cwd=tmp_path, **environment(hub, tmp_path))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lorabench: cannot push to other/adapter: ") and "403" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    done = script("push", str(trained), f"{TOKEN} pasted", cwd=tmp_path, **environment(hub, tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("lorabench: cannot push to … pasted: "), done.stderr
    assert TOKEN not in done.stdout + done.stderr
    done = script("push", str(trained), "no name", cwd=tmp_path, **environment(hub, tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("lorabench: cannot push to no name: "), done.stderr
    done = script("push", str(trained), "me/x", cwd=tmp_path, **environment(hub, tmp_path) | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 2 and "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE says to do without; unset them" in done.stderr


@pytest.fixture
def refused(monkeypatch, capsys):
    """A function that gives the line on which a push in this process ends."""
    for name in push.TOKENS:
        monkeypatch.delenv(name, raising=False)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            push.main([str(word) for word in words], "lorabench push")
        assert end.value.code == 2
        return capsys.readouterr().err

    return run


def test_a_cell_without_an_adapter_and_one_without_a_record_are_refused(refused, trained, record, tmp_path, monkeypatch):
    assert "push needs a token that may write: set HF_TOKEN" in refused(trained, "me/x")
    for wrong in (f"{TOKEN}\x01", f"{TOKEN} {TOKEN}", f"{TOKEN}é"):
        monkeypatch.setenv("HF_TOKEN", wrong)
        line = refused(trained, "me/x")
        assert "HF_TOKEN holds no token" in line and TOKEN not in line
    assert f"{tmp_path} holds no record of a cell; give a cell's folder" in refused(tmp_path, "me/x")
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert f"{tmp_path} has no saved adapter; delete it, and train the cell again with save_adapter=true" in refused(
        tmp_path, "me/x"
    )
    unscored = {"metrics": None, "validation_metric": {"name": "arithmetic/validation", "value": 0.0}}
    for status in ("diverged", "failed"):
        (tmp_path / "record.json").write_text(json.dumps(record | unscored | {"status": status}))
        assert f"{tmp_path} is {status}; only a complete cell can be pushed" in refused(tmp_path, "me/x")
    assert "the following arguments are required: REPO" in refused(trained)


def of_hub(record):
    """The record as it would be of a model of the hub."""
    changed = copy.deepcopy(record)
    changed["config"]["model"] |= {"hub": "Qwen/Qwen3-0.6B-Base", "revision": "a" * 40, "path": None}
    changed["model"] |= {"name": "qwen3-0.6b", "fingerprint": f"Qwen/Qwen3-0.6B-Base@{'a' * 40}"}
    return changed


def test_a_model_of_the_hub_is_named_by_its_id_and_revision(record):
    metadata, body = of_card(card(of_hub(record), ADAPTER, "me/x"))
    assert metadata["base_model"] == "Qwen/Qwen3-0.6B-Base" and metadata["base_model_relation"] == "adapter"
    assert f"at revision `{'a' * 40}`" in body
    assert f'from_pretrained("Qwen/Qwen3-0.6B-Base", revision="{"a" * 40}", dtype="float32")' in body
    assert 'PeftModel.from_pretrained(base, "me/x")' in body


def test_a_folder_that_goes_by_a_hub_id_says_that_it_is_a_copy(record):
    changed = of_hub(record)
    changed["config"]["model"]["path"] = "/somewhere/else"
    text = card(changed, ADAPTER)
    assert "A local copy of [Qwen/Qwen3-0.6B-Base]" in text and changed["model"]["fingerprint"] in text
    assert "/somewhere" not in text and "revision=" not in text


def test_scores_come_with_their_number_and_standard_error(record):
    _, body = of_card(card(record, ADAPTER))
    for split in ("validation", "test"):
        [(name, of_set)] = record["metrics"][split]["sets"].items()
        row = f"| {split} | {name} | {100 * of_set['score']:.2f} | {100 * of_set['stderr']:.2f} | {of_set['n']} |"
        assert f"{row} {100 * record['base'][split]:.2f} |" in body
    several = copy.deepcopy(record)
    several["metrics"]["test"] = {"mean": 0.25, "sets": {"a": {"score": 0.5, "n": 2, "stderr": 0.1}, "b": {"score": 0.0, "n": 3, "stderr": None}}}  # fmt: skip
    _, body = of_card(card(several, ADAPTER))
    assert (
        "| test | a | 50.00 | 10.00 | 2 |  |\n| test | b | 0.00 | - | 3 |  |\n| test | mean of the sets | 25.00 | | | " in body
    )


def test_settings_are_there_and_places_are_not(record):
    changed = copy.deepcopy(record)
    changed["config"]["variant"] |= {"config": "mine/adapter_config.json", "deep": {"file": ["/home/me/x"]}}
    _, body = of_card(card(changed, ADAPTER))
    rows = dict(line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| `"))
    assert rows["`lr`"] == "0.001" and rows["`rank`"] == "8" and rows["`variant.name`"] == "pissa" and rows["`seed`"] == "0"
    assert "`trainer.warmup_ratio`" in rows and "`subset.name`" in rows
    assert not {"`variant.config`", "`variant.deep`", "`variant._target_`"} & rows.keys()


def test_what_a_folder_holds_decides_how_it_is_loaded(record, tmp_path):
    assert kind_of(tmp_path) is None
    (tmp_path / "merged.safetensors").touch()
    assert kind_of(tmp_path) == MERGED and 'load_file("merged.safetensors")' in card(record, MERGED)
    (tmp_path / "config.json").touch()
    text = card(of_hub(record), CHECKPOINT, "me/x")
    assert kind_of(tmp_path) == CHECKPOINT and 'AutoModelForCausalLM.from_pretrained("me/x", dtype="float32")' in text
    assert of_card(text)[0] | {"base_model_relation": "finetune", "library_name": "transformers"} == of_card(text)[0]
    assert "peft" not in text


def test_configs_lose_places_and_nothing_else(tmp_path):
    config = {
        "base_model_name_or_path": str(tmp_path),
        "r": 8,
        "file": str(tmp_path),
        "eos": "/",
        "deep": [{"_name_or_path": "x"}],
    }
    expected = {"base_model_name_or_path": "a/b", "r": 8, "file": None, "eos": "/", "deep": [{"_name_or_path": "a/b"}]}
    assert without_places(config, "a/b") == expected
    assert without_places(config, None)["base_model_name_or_path"] is None
