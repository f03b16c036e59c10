"""The replay: same start for all, and nothing run twice."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from sweeps.bench import __main__ as command
from sweeps.bench import catalog, landscapes, regret_table
from sweeps.bench.landscapes import Landscape
from sweeps.bench.replay import digest, replay
from sweeps.errors import SweepError
from sweeps.search.base import Observation, Search
from sweeps.space import Space


@pytest.fixture
def landscape():
    space = Space({"rank": ["1", "2", "4", "8"], "lr": ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]})
    return Landscape("small", space, np.arange(20.0), "lora", "points")


class Upwards(Search):
    """The largest number that is left."""

    def ask(self, history):
        return max(set(range(len(self.space))) - {observation.candidate for observation in history})


def test_a_replay_starts_with_the_design_and_then_asks(landscape):
    run = replay(landscape, Upwards, seed=3, budget=6, initial=4, kind="sobol")
    shorter = replay(landscape, lambda space, seed: Upwards(space, seed), seed=3, budget=5, initial=4, kind="sobol")
    assert run["candidates"][:5] == shorter["candidates"]
    assert run["candidates"][4:] == sorted(set(range(20)) - set(run["candidates"][:4]), reverse=True)[:2]
    assert run["scores"] == [float(i) for i in run["candidates"]]
    assert len(run["seconds"]) == 2


def test_methods_see_scores_and_never_the_table(landscape):
    seen = []

    class Spy(Upwards):
        def ask(self, history):
            seen.append(list(history))
            return super().ask(history)

    run = replay(landscape, Spy, seed=0, budget=7, initial=5, kind="random")
    pairs = zip(run["candidates"], run["scores"], strict=True)
    assert seen[-1] == [Observation(*pair) for pair in pairs][:6]


def test_what_was_replayed_is_not_replayed_again(landscape, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landscapes, "read", lambda name, folder: landscape)
    monkeypatch.setattr(catalog, "tables", lambda: ["small"])
    file = tmp_path / "runs.jsonl"
    arguments = ["bench", "--tables", "small", "--methods", "random", "--budget", "6", "--output", str(file)]

    def call(seeds):
        monkeypatch.setattr(sys, "argv", [*arguments, "--seeds", str(seeds)])
        command.main()
        return file.read_text()

    first = call(2)
    file.write_text(first + '{"table": "small", "shares": [{"gp": 1.0}')  # a replay that was killed while writing
    assert call(2).startswith(first)
    assert [json.loads(line)["seed"] for line in call(3).splitlines() if "scores" in line] == [0, 1, 2]
    assert "3 seeds" in capsys.readouterr().out


def test_a_changed_table_or_method_is_replayed_again(landscape):
    config = catalog.method_config("random")
    made = digest(landscape, config, {})
    higher = Landscape("small", landscape.space, landscape.scores + 1, "lora", "points")
    assert made == digest(landscape, catalog.method_config("random"), {})
    changed = [digest(higher, config, {}), digest(landscape, config | {"initial": 9}, {})]
    assert len({made, *changed, digest(landscape, config, {"text": "edited"})}) == 4


def test_bad_input_is_one_line(landscape, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landscapes, "read", lambda name, folder: landscape)
    for arguments, message in {
        ("--methods", "random", "--budget", "99"): "--budget 99 is more than the 20 candidates of small",
        ("--methods", "random", "--seeds", "0"): "--seeds 0 is neither a number of seeds nor FIRST-LAST",
        ("--methods", "random", "--seeds", "9-3"): "--seeds 9-3 is neither",
        ("--methods", "random", "--seeds", "x"): "--seeds x is neither",
        ("--methods", "random", "--budget", "0"): "--budget 0 must be at least 1",
        ("--methods", "random", "--budget", "6", "--focus", "gpp"): "--focus gpp is none of --methods random",
        ("--methods", "grid", "--budget", "6"): "there is no method grid; available: gp, language_bo",
        ("--methods", "search", "--budget", "6"): "there is no method search",
        ("--methods", "gp:token=false", "--budget", "6"): "token=false changes nothing of gp; what there is: initial, design",
        ("--methods", "random:design=foo", "--budget", "6"): "hydra.sweeper.design=foo is none of sobol, random",
        ("--methods", "random:initial=x", "--budget", "6"): "hydra.sweeper.initial=x must be",
        ("--methods", "language_bo:method.token=fales", "--budget", "6"): "hydra.sweeper.method.token=fales must be",
        ("--methods", "random", "--output", str(tmp_path)): "is a folder, not a file",
        ("--methods", "random", "--output", str(tmp_path / "x" / "y")): "cannot be written: ",
        ("--methods", "rndom", "--budget", "6"): "there is no method rndom; available: gp, language_bo",
    }.items():
        monkeypatch.setattr(sys, "argv", ["bench", "--tables", "small", "--output", str(tmp_path / "x"), *arguments])
        with pytest.raises(SystemExit):
            command.main()
        assert message in capsys.readouterr().err


@pytest.mark.skipif(not importlib.util.find_spec("botorch"), reason="pip install 'lorabench[search]' brings botorch")
def test_a_missing_encoder_is_one_line(landscape, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landscapes, "read", lambda name, folder: landscape)
    changed = "language_bo:method.encoder.model=none_such"
    monkeypatch.setattr(
        sys, "argv", ["bench", "--tables", "small", "--budget", "6", "--output", str(tmp_path / "x"), "--methods", changed]
    )
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2 and "encoder none_such is none of" in capsys.readouterr().err


def test_a_change_of_a_method_is_its_yaml_with_that_change():
    assert catalog.method_config("language_bo", ["method.token=false"])["method"]["token"] is False
    with pytest.raises(SweepError, match="there is no method"):
        catalog.method_config("nothing")
    for wrong in ("token=false", "metod.token=false", "method.tokn=false", "budget=3"):
        with pytest.raises(SweepError, match=r"changes nothing of language_bo; what there is: initial, design, method\.text"):
            catalog.method_config("language_bo", [wrong])


def test_the_tables_text_is_used_unless_another_is_asked_for():
    assert catalog.method_config("language_bo", [], "mlp")["method"]["text"] == "mlp"
    assert catalog.method_config("language_bo", ["method.text=mine.yaml"], "mlp")["method"]["text"] == "mine.yaml"
    assert "text" not in catalog.method_config("gp", [], "mlp")["method"]


def test_seeds_are_a_number_or_a_range():
    assert list(command.seeds("3")) == [0, 1, 2]
    assert list(command.seeds("7-9")) == [7, 8, 9]


def test_the_weights_of_averaged_models_are_told(landscape):
    class Averaging(Upwards):
        def ask(self, history):
            self.shares = {"language": 0.25 if len(history) == 2 else 0.75, "gp": 0.5}
            return super().ask(history)

    run = replay(landscape, Averaging, seed=0, budget=4, initial=2, kind="sobol")
    assert [shares["language"] for shares in run["shares"]] == [0.25, 0.75]
    text = regret_table.text([landscape], [run | {"table": "small", "method": "mine", "seed": 0}], 4)
    assert "* mine weighs its models: language 0.50, gp 0.50" in text
    assert "shares" not in replay(landscape, Upwards, seed=0, budget=4, initial=2, kind="sobol")
