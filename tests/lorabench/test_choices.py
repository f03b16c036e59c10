"""``model=path:DIR`` and ``model=hub:OWNER/NAME@COMMIT``: what ``model.path=DIR`` and ``model.hub=…`` give, wherever a model is named."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from hessian.__main__ import compose_config
from lorabench.__main__ import main
from lorabench.errors import UserError
from lorabench.models.locate import check
from lorabench.schema import CONF, PACKAGE
from lorabench.terminal.quoting import with_home
from lorabench.terminal.words import check_words
from lorabench.variants.__main__ import main as variants

CHECKPOINT, COMMIT = PACKAGE / "tiny" / "checkpoint", "0" * 40


@pytest.fixture
def copied(tmp_path):
    """A function from a name to a copy of the embedded checkpoint in a folder of that name."""
    return lambda name: shutil.copytree(CHECKPOINT, tmp_path / name)


@pytest.fixture
def ended(monkeypatch, capsys):
    """A function that runs the command line in this process and gives its code, what it printed, and its complaints."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["lorabench", *map(str, words)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("HYDRA_FULL_ERROR", "PYTHONPATH"):  # which the command sets
            monkeypatch.setenv(name, "")
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_folder_is_what_the_key_of_it_gives(cell, copied):
    folder = copied("my-llama")
    short, long = cell(f"model=path:{folder}"), cell(f"model.path={folder}")
    assert short.config == long.config
    assert short.id == long.id == cell().id
    assert short.model.name == "my-llama"
    assert cell(f"model=path:{folder}", "model.name=given").model.name == "given"
    assert cell(f"model=path:{folder}", "model.dtype=bfloat16").id != short.id


def test_a_hub_id_is_what_the_keys_of_it_give(cell):
    short = cell(f"model=hub:Qwen/Qwen3-0.6B-Base@{COMMIT}")
    long = cell("model.hub=Qwen/Qwen3-0.6B-Base", f"model.revision={COMMIT}")
    assert short.config == long.config
    assert short.id == long.id
    assert short.model.name == "Qwen3-0.6B-Base"
    apart = cell("model=hub:Qwen/Qwen3-0.6B-Base", f"model.revision={COMMIT}")
    assert apart.config == long.config
    check(cell(f"model=hub:Qwen/Qwen3-0.6B-Base@{COMMIT}", "model.name=mine").model)


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT[:8]}"])
def test_a_hub_id_without_a_commit_is_refused(cell, revision):
    with pytest.raises(UserError, match=r"model\.revision=COMMIT|no full commit"):
        check(cell(f"model=hub:Qwen/Qwen3-0.6B-Base{revision}").model)


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ("path:", "model=path: names no folder; write model=path:DIR"),
        ("hub:", "model=hub: is incomplete; write model=hub:OWNER/NAME@COMMIT"),
        ("hub:a/b@", "model=hub:a/b@ is incomplete; write model=hub:OWNER/NAME@COMMIT"),
    ],
)
def test_half_a_choice_is_refused(cell, choice, line):
    with pytest.raises(UserError, match=f"^{line}$"):
        cell(f"model={choice}")


@pytest.mark.parametrize("name", ["with space", "a,b", "a=b", "grün", "x(1)", "it's", "~", "end.yaml"])
def test_a_folder_of_any_name_is_run_or_its_line_is_to_be_typed(ended, copied, tmp_path, name):
    folder = copied(name)
    code, out, err = ended(f'model="path:{folder}"', "plan=true", f"output_dir={tmp_path}")
    assert (code, err) == (0, "")
    assert f"model           1  {name}" in out
    code, out, err = ended(f"model=path:{folder}", "plan=true", f"output_dir={tmp_path}")
    assert code == 0 or (code == 2 and len(err.splitlines()) == 1 and f'"path:{folder}"' in err.replace("'\"'\"'", "'"))


def test_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = [
        "model=path:~/a,path:~/b,tiny",
        "+hydra.sweeper.params.model=path:~/a",
        "model=path:/a~/b",
        "model=hub:~/x",
        "model=path:~you/x",
    ]
    assert with_home(words) == [
        "model=path:/home/me/a,path:/home/me/b,tiny",
        "+hydra.sweeper.params.model=path:/home/me/a",
        *words[2:],
    ]


def test_a_grid_has_folders_beside_names(ended, copied, tmp_path):
    first, second = copied("first"), copied("second")
    config = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    models = f"model=tiny,path:{first},path:{second}"
    code, out, err = ended(models, "lr=1e-3,2e-3", "plan=true", f"output_dir={tmp_path}", "-m")
    assert (code, err) == (0, "")
    assert out.startswith("4 cells: 4 to run")  # the first folder holds the very files of tiny
    assert "model           3  tiny, first, second" in out
    code, out, err = ended(
        f"+hydra.sweeper.params.model=[tiny,path:{first},path:{second}]", "plan=true", f"output_dir={tmp_path}", "-m"
    )
    assert (code, err) == (0, "")
    assert out.startswith("2 cells: 2 to run")


def test_a_grid_runs_on_a_folder(ended, copied, tmp_path):
    words = ["train_samples=8", "task.validation_samples=4", "task.test_samples=4", f"output_dir={tmp_path / 'runs'}"]
    assert ended(f"model=path:{copied('mine')}", "lr=1e-3,2e-3", *words, "-m")[0] == 0
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/record.json")]
    assert [record["config"]["model"]["name"] for record in records] == ["mine", "mine"]


def test_a_yaml_of_ones_own_names_a_folder(ended, copied, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\ndefaults:\n  - override /model: path:{copied('mine')}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    code, out, err = ended("+experiment=mine", "plan=true", f"output_dir={tmp_path}", "--config-dir", tmp_path)
    assert (code, err) == (0, "")
    assert "model           1  mine" in out


def test_a_study_and_the_table_of_variants_take_it(copied, capsys):
    from hydra import initialize_config_dir

    folder = copied("with space")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose_config([f"model=path:{folder}"]).model.path == str(folder)
    folder = folder.rename(folder.with_name("a=b"))
    variants(["--model", f"path:{folder}"])
    short = capsys.readouterr().out
    variants([])
    assert short.splitlines()[1:] == capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model=path:/a", "model.path=/b"], "model=path:/a says where the weights are, and so does model.path=/b; leave"),
        (["model=tiny,path:/a", "model.hub=x/y"], "model=path:/a says where the weights are, and so does model.hub=x/y"),
        (["model=hub:x/y@1", "model.revision=2"], "model=hub:x/y@1 says where the weights are, and so does model.revision=2"),
        (["model=[path:/a,path:/b]"], "model=[path:/a,path:/b] is a list, of which Hydra would make one mixture"),
    ],
)
def test_two_sources_are_refused(words, line):
    with pytest.raises(UserError) as raised:
        check_words(words, [CONF])
    assert str(raised.value).startswith(line)


def test_a_long_folder_is_no_typing_error(tmp_path):
    check_words([f"model=path:/{'x' * 240}/{'y' * 240}"], [CONF])


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ("owner/name", "model=owner/name does not exist; write model=hub:owner/name@COMMIT, or model=path:DIR"),
        ("/no/such", "model=/no/such does not exist; write model=path:/no/such"),
        ("./no", "model=./no does not exist; write model=path:./no"),
        ("path:/no/such", "model.path=/no/such: no config.json in that folder; give the folder of a saved checkpoint"),
        ("tinny", "model=tinny does not exist; did you mean 'tiny'?"),
        ("path:/a,b", "model=path:/a,b has several values: add -m to run each of them, or write 'model=\"path:/a,b\"'"),
    ],
)
def test_a_model_that_is_none_is_one_line(ended, tmp_path, choice, line):
    code, _, err = ended(f"model={choice}", f"output_dir={tmp_path}")
    assert code == 2
    assert err.startswith(f"lorabench: {line}")
    assert len(err.splitlines()) == 1
    assert Path(tmp_path).is_dir()
