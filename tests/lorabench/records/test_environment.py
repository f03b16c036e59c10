"""Values of the environment stay out of records, and so do keys in a judge's address."""

import pytest
from omegaconf import OmegaConf

from lorabench.cells.cell import Cell
from lorabench.errors import UserError
from lorabench.tasks.scoring.judge import check_url


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("model.revision=${oc.env:SECRET}", "model.revision"),
        ("model.revision=${oc.env:SECRET,x}", "model.revision"),
        ("variant.target_modules=[q_proj,'${oc.env:SECRET}']", "variant.target_modules.1"),
        ("task.name='a-${oc.decode:${oc.env:SECRET}}'", "task.name"),
        ("model.revision='${oc.${variant.name}:SECRET}' variant.name=env", "model.revision"),
    ],
)
def test_what_is_recorded_comes_from_no_environment_variable(cell, monkeypatch, word, key):
    monkeypatch.setenv("SECRET", "hf_0123456789")
    with pytest.raises(UserError, match=f"^{key} comes from an environment variable") as caught:
        cell(*word.split(" "))
    assert "hf_0123456789" not in str(caught.value)


def test_what_is_not_recorded_may(cell, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", str(tmp_path / "runs"))
    made = cell("output_dir=${oc.env:SECRET}")
    assert isinstance(made, Cell) and made.settings.output_dir == str(tmp_path / "runs")
    with pytest.raises(UserError, match=r"^model\.path comes from an environment variable"):
        cell("output_dir=${oc.env:SECRET}", "model.path='${output_dir}/model'")


@pytest.mark.parametrize(
    "through", ["${output_dir}", "${..output_dir}", "${oc.select:output_dir}", "${oc.select:output_${variant.name},x}"]
)
def test_what_is_recorded_comes_from_none_behind_a_key_that_is_not(cell, monkeypatch, through):
    monkeypatch.setenv("SECRET", "hf_0123456789")
    with pytest.raises(UserError, match=r"^model\.revision comes from an environment variable"):
        cell("output_dir=${oc.env:SECRET}", f"model.revision='{through}'", "variant.name=dir")
    assert OmegaConf.create({"a": "${oc.env:SECRET}"}).a == "hf_0123456789"  # the resolver is Hydra's own again


KEY = "sk9f83jfk20fj3k2lf0s"


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{KEY}@host/v1",
        f"https://{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/v1#{KEY}",
        f"https://host/{KEY}/v1",
        f"https://host/v1/%73{KEY[1:]}",
        f"https://host/v1/sk-{KEY}",
        f"ftp://{KEY}@host",
        "https://host/3f2a9c1e-77aa-4b1c-9d3e-0a1b2c3d4e5f/v1",
        "https://host/sk-abcdEFGH1234/v1",
        "https://host/v1/hf_abcdEFGH",
        "https://host/AIzaSyA1234/v1",
        f"https://[{KEY}/v1",
    ],
)
def test_a_key_in_a_judges_address_is_refused_and_not_repeated(url):
    with pytest.raises(UserError, match=r"^task\.judge_url ") as caught:
        check_url(url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "https://api.openai.com/v1/",
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "https://mine.openai.azure.com/openai/deployments/gpt-4o-mini-2024-07-18",
        "http://[::1]:8000/v1",
    ],
)
def test_an_address_is_one(url):
    check_url(url)
