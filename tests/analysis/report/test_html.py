"""What the report holds, and that text of records stays text; the page in a browser: test_html_browser.py."""

import base64
import gzip
import hashlib
import html
import json
import math
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.published import FOLDER as PUBLISHED
from analysis.read.blocks import load_blocks
from analysis.read.load import load_records
from analysis.report import page, samples
from analysis.report.cells import thin
from analysis.report.data import tree
from analysis.report.samples import Samples, cut
from analysis.style.palette import styles
from analysis.tables import table

HOSTILE = '</script><img src=x onerror="document.title=1"><!-- & \u2028 \ud800'


@pytest.fixture
def sweep(write, complete):
    """LoRA and PiSSA, two seeds; a diverged and a failed cell, and completions that try to be markup."""
    for seed in (0, 1):
        for lr, lora, pissa in [(2e-4, 0.1, 0.8), (2e-3, 0.9, 0.95), (2e-2, 0.6, 0.0)]:
            for name, test in (("lora", lora), ("pissa", pissa)):
                complete(write(name, lr, seed, test), test, HOSTILE)
    write("pissa", 6e-2, 0, status="diverged")
    write("pissa", 6e-2, 1, status="failed", metrics=None, error=HOSTILE[:-1])
    return write


def embedded(text):
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(data)


def test_one_file_that_loads_nothing_and_runs_only_its_own_script(runs, sweep):
    text = page.page(tree(load_records(runs)))
    assert not re.search(r"""(?:src|href|action)=|url\(|@import|\bfetch\(|XMLHttp|import\(""", text.split('id="data"')[0])
    assert text.count("<script") == text.count("</script>") == 2
    script = text.split("<script>")[1].split("</script>")[0]
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)">', text)[1])
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert set(re.findall(r"https?://[^\s\"']+", script)) == {"http://www.w3.org/2000/svg"}


def test_scripts_make_no_markup_of_text():
    for file in page.ASSETS.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|DOMParser", file.read_text()
        ), file


def test_every_asset_is_in_the_page():
    assert {file.name for file in page.ASSETS.iterdir()} == {"page.html", *page.STYLES, *page.SCRIPTS}


def test_text_of_records_arrives_as_it_was_and_never_as_markup(runs, sweep, tmp_path):
    data = tree(load_records(runs))
    data["title"] = "{{data}}</title><script>1</script>"
    page.write(data, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in text and "<!--" not in text and "<title>{{data}}&lt;/title&gt;" in text
    cells = embedded(text)["cells"]
    answers = [answer for details in cells["details"] for answer in details["answers"]]
    assert answers and {answer[2] for answer in answers} == {HOSTILE}


def test_values_that_json_does_not_know():
    assert json.loads(page.encode([math.nan, math.inf, 1 / 3, "<&>", None, True])) == [
        None,
        "inf",
        0.3333333,
        "<&>",
        None,
        True,
    ]


def test_the_summary_has_the_numbers(runs, sweep):
    text = " ".join(tree(load_records(runs))["summary"])
    for words in ("13 cells on tiny · arithmetic", "2 variants, 4 learning rates, 2 seeds", "that of pissa, 95.00 % at 2e-3",
                  "both peaks lie within 5.00 points", "Of 1 variant, 0 are equivalent", "of pissa is LoRA's own"):  # fmt: skip
        assert words in text, text


def test_what_lora_s_learning_rate_costs_another(runs, write):
    for lr, lora, pissa in [(2e-4, 0.1, 0.8), (2e-3, 0.9, 0.3), (2e-2, 0.6, 0.0)]:
        write("lora", lr, 0, lora)
        write("pissa", lr, 0, pissa)
    sentence = tree(load_records(runs))["summary"][-1]
    assert (
        sentence
        == "The best learning rate of pissa is 0.1 times LoRA's; at LoRA's 2e-3 pissa scores 30.00 %, 50.00 points below its own peak."
    )


def test_the_furthest_best_learning_rate_may_be_above_lora_s(runs, write):
    for lr, scores in [(2e-4, (0.1, 0.9, 0.1)), (2e-3, (0.9, 0.3, 0.2)), (4e-2, (0.6, 0.0, 0.9))]:
        for name, score in zip(("lora", "pissa", "dora"), scores, strict=True):
            write(name, lr, 0, score)
    sentence = tree(load_records(runs))["summary"]
    assert sentence[-1].startswith(
        "The best learning rate of pissa is 0.1 times LoRA's, that of dora is 20 times LoRA's; at LoRA's"
    )
    assert "all 3 peaks are equal" in sentence[1]


def test_several_settings_are_summed_up_in_words(runs, write):
    for rank, lora, pissa in ((8, 0.9, 0.8), (64, 0.7, 0.8)):
        for lr in (2e-3, 2e-4):
            write("lora", lr, 0, lora - lr, config={"rank": rank})
            write("pissa", lr, 0, pissa - (1e-3 - lr) ** 2, config={"rank": rank})
    sentences = tree(load_records(runs))["summary"]
    assert "of 2 settings the highest is lora's in 1, pissa's in 1." in sentences[1]
    assert sentences[-1].startswith(
        "The best learning rate of pissa is LoRA's own (the median; below LoRA's in 0, above it in 0 of 2"
    )


def test_one_learning_rate_says_nothing_of_the_best(runs, write):
    write("lora", 2e-3, 0, 0.9)
    write("pissa", 2e-3, 0, 0.9)
    assert not any("best learning rate" in sentence for sentence in tree(load_records(runs))["summary"])


def test_learning_rates_that_differ_by_rounding_are_lora_s_own(runs, write):
    for rank, near in ((8, 2.001e-3), (64, 1.999e-3)):
        for lr, score in ((2e-4, 0.1), (2e-3, 0.9)):
            write("lora", lr, 0, score, config={"rank": rank})
            write("pissa", near if lr == 2e-3 else lr, 0, score, config={"rank": rank})
    sentence = tree(load_records(runs))["summary"][-1]
    assert "of pissa is LoRA's own (the median; below LoRA's in 0, above it in 0 of 2" in sentence


@pytest.mark.parametrize(("more", "counted"), [(1, False), (150, True)])
def test_only_verdicts_hold_for_the_trained_models_of_one_seed(runs, answered, more, counted):
    right = [1.0] * 20 + [0.0] * 180
    answered("lora", 2e-3, 0, right)
    answered("pissa", 2e-3, 0, [1.0] * (20 + more) + [0.0] * (180 - more))
    sentence = tree(load_records(runs))["summary"][2]
    assert ("1 is open" in sentence) != counted
    assert (
        ("With one seed, 1 of these hold for these trained models alone." in sentence)
        == counted
        == ("With one seed" in sentence)
    )


def test_the_margin_is_the_one_asked_for(runs, write, capsys):
    for seed in range(4):
        for name, score in (("lora", 0.9), ("pissa", 0.92)):
            write(name, 2e-3, seed, score + seed / 1000)
    lines = []
    for margin in (1, 5):
        assert main(["report", str(runs), "--margin", str(margin)]) == 0
        data = embedded((runs / "report.html").read_text())
        lines.append(([row["verdict"] for row in data["settings"][0]["differences"]["rows"]], data["margin"]))
        assert f"equivalent to LoRA within {margin} point{'s' * (margin > 1)} (two" in data["summary"][2]
    assert lines == [(["different"], 0.01), (["both"], 0.05)]


def test_a_ratio_of_costs_needs_one_device(runs, write):
    for name, device in (("lora", "NVIDIA H100"), ("pissa", "CPU"), ("dora", "NVIDIA H100")):
        write(name, 2e-3, 0, 0.9, device={"name": device})
    data = tree(load_records(runs))
    costs = {data["variants"][row["variant"]]["name"]: row["relative"] for row in data["settings"][0]["costs"]}
    assert costs["lora"] == costs["dora"] == 1 and math.isnan(costs["pissa"])
    lines = table(load_records(runs), "cost").splitlines()
    assert [line.split()[4] for line in lines if line.startswith(("lora ", "pissa ", "dora "))] == ["1", "-", "1"]


def test_a_variant_looks_the_same_in_every_section(runs, write, tmp_path):
    """Where two names meet, the second has another look: in one section as in the other."""
    names = [f"mine{i}" for i in range(400)]
    meet = next(pair for pair in combinations(names, 2) if len({styles([name])[name] for name in pair}) == 1)
    write(meet[1], 2e-3, 0, 0.9)
    folder = tmp_path / "hessian"
    folder.mkdir()
    record = {
        "schema_version": 1, "kind": "hessian_block", "model": "tiny", "task": "arithmetic", "matrix": "q_proj", "layer": 0,
        "layers": 2, "rank": 8, "seed": 0, "lambda_max": 2.0, "lambda_min": -1.0, "converged": True, "data": {"stderr": 0.1},
        "growth": [], "weights": "pretrained", "sequences": 8,
    }  # fmt: skip
    for name in meet:
        measured = {"variant": name, "identity": {"model": "sha256:" + "a" * 64, "samples": 8, "variant": {"name": name}}}
        (folder / f"{name}.json").write_text(json.dumps(record | measured))
    data = tree(load_records(runs), blocks=load_blocks(folder))
    [shown] = data["variants"]
    assert [look["name"] for look in data["sharpness"]["variants"]] == list(meet)
    assert shown == data["sharpness"]["variants"][1] != data["sharpness"]["variants"][0]


def test_published_cells_of_other_models_are_not_shown_but_said(runs, write, caplog):
    write("lora", 2e-3, 0, 0.9)
    assert main(["report", str(runs), "--published"]) == 0
    data = embedded((runs / "report.html").read_text())
    assert data["groups"] == ["tiny · arithmetic"] and len(caplog.messages) == 1
    assert "has no cell of tiny · arithmetic to show" in caplog.text
    write("lora", 2e-3, 0, 0.9, config={"model": {"name": "qwen3-0.6b"}, "task": {"name": "math"}})
    assert main(["report", str(runs), "--published"]) == 0
    data = embedded((runs / "report.html").read_text())
    assert data["groups"] == ["qwen3-0.6b · math", "tiny · arithmetic"] and len(caplog.messages) == 1


def test_lines_of_the_assets_fit():
    for file in page.ASSETS.iterdir():
        assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 128, file


def test_gaps_are_marked(runs, sweep):
    sweep("lora", 6e-3, 0, 0.99).with_name("record.json")
    sweep("dora", 2e-3, 0).write_text("{")
    text = " ".join(tree(load_records(runs))["gaps"])
    for words in ("Unfinished grid: 1 peak of fewer seeds", "different learning rates", "Without completions: 1 cell;",
                  "Diverged: 1 cell,", "Failed: 1 record,", "Skipped: 1 record,"):  # fmt: skip
        assert words in text, text


def test_a_complete_sweep_has_no_gap(runs, write, complete):
    for seed in (0, 1):
        for lr, test in [(2e-4, 0.1), (2e-3, 0.9), (2e-2, 0.6)]:
            for name in ("lora", "pissa"):
                complete(write(name, lr, seed, test), test)
    data = tree(load_records(runs))
    assert data["gaps"] == []
    assert data["settings"][0]["peaks"][0]["peak_interval"].how == "problems and seeds"
    assert data["settings"][0]["peaks"][0]["honest"] == pytest.approx(0.9)


def test_one_seed_and_one_variant_have_no_interval_and_no_verdict(runs, write):
    write("pissa", 2e-3, 0, 0.9)
    data = tree(load_records(runs))
    text = " ".join(data["gaps"])
    assert "One seed only: " in text and "No comparison with lora" in text and "pissa (both)" in text
    [peak] = data["settings"][0]["peaks"]
    assert all(map(math.isnan, peak["peak_interval"][:2])) and peak["honest"] is None and math.isnan(peak["peak_std"])
    assert data["answers"] is None and data["sharpness"] is None and data["searches"] is None


def test_settings_are_not_mixed(runs, write):
    write("lora", 2e-3, 0, 0.9)
    write("lora", 2e-3, 0, 0.1, config={"rank": 64})
    write("lora", 2e-3, 0, 0.5, config={"task": {"name": "math"}})
    data = tree(load_records(runs))
    assert [panel["title"] for panel in data["settings"]] == ["tiny · arithmetic", "tiny · arithmetic", "tiny · math"]
    assert [panel["peaks"][0]["peak_mean"] for panel in data["settings"]] == [0.9, 0.1, 0.5]
    assert data["summary"][0] == "3 cells on 3 settings: 1 variant, 1 learning rate, one seed."


def test_published_cells_stand_beside_own_ones(runs, write):
    write("lora", 2e-4, 0, 0.3, config={"model": {"name": "qwen3-0.6b"}, "task": {"name": "math"}})
    frame, published = load_records(runs), load_records(PUBLISHED)
    data = tree(frame, published)
    first = [panel for panel in data["settings"] if panel["group"] == 0]
    assert data["groups"][0] == "qwen3-0.6b · math" and len(first) > 1
    assert [panel["own"] for panel in first] == [True] + [False] * (len(first) - 1)
    assert data["summary"][0].startswith("1 cell on qwen3-0.6b") and len(data["cells"]["rows"]) == 1000
    alone = tree(published, published)
    assert len(alone["cells"]["rows"]) == 999
    assert "No scores to select by: such peaks are chosen on test, which flatters them." in alone["gaps"]


def test_the_same_records_give_the_same_page(runs, sweep):
    assert page.page(tree(load_records(runs))) == page.page(tree(load_records(runs)))


def test_what_most_cells_share_is_written_once(runs, write):
    for name, lr in (("lora", 2e-4), ("lora", 2e-3), ("pissa", 2e-3)):
        write(name, lr, 0)
    write("lora", 2e-2, 0, config={"trainer": {"warmup_ratio": 0.1}})
    cells = tree(load_records(runs))["cells"]
    assert cells["common"]["variant.name"] == "lora" and "output_dir" not in cells["common"]
    facts = {
        row[4:6] and (row[3], row[4]): detail["facts"] for row, detail in zip(cells["rows"], cells["details"], strict=True)
    }
    assert facts[1, 2e-3]["variant.name"] == "pissa"
    assert {"trainer.warmup_ratio": "0.1", "trainer.betas": None}.items() <= facts[0, 2e-2].items()


def test_a_thinned_curve_keeps_its_mean():
    curve = [[step, step % 7] for step in range(1, 1001)]
    steps, means = thin(curve)
    assert (
        len(steps) == 100 and steps[-1] == 1000 and sum(means) / 100 == pytest.approx(sum(v for _, v in curve) / 1000, rel=1e-3)
    )
    assert thin([[1, 2.5], [2, None]])[1][0] == 2.5 and math.isnan(thin([[1, 2.5], [2, None]])[1][1])
    assert thin([]) == ([], [])


def test_completions_stay_within_their_budget(write, complete):
    paths = [complete(write("lora", 2e-3, seed, 0.5), 0.5, "word " * 1000) for seed in range(4)]
    few = Samples(cells=4, budget=4000)
    kept = [few.of(str(path)) for path in paths]
    assert (
        sum(len(answer[2]) for of in kept for answer in of) + sum(len("".join(text_of.values())) for text_of in few.problems)
        <= 4000
    )
    assert all({answer[1] for answer in of} == {0.0, 1.0} for of in kept), "one of each is kept first"
    assert all(answer[2].endswith(samples.CUT) for of in kept for answer in of)
    many = Samples(cells=4).of(str(paths[0]))
    assert [answer[1] for answer in many] == [1.0] * samples.EACH + [0.0] * samples.EACH


def test_problems_that_share_an_id_keep_their_own_prompt_and_answer(write, answered):
    """Of another version of the task."""
    old, new = (str(answered("lora", 2e-3, seed, [1.0, 0.0])) for seed in (0, 1))
    path = Path(new).with_name("completions.jsonl.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"Q0?", "gold": "0"', b'"New?", "gold": "7"')))
    both = Samples(cells=2)
    questions = [
        {both.problems[number]["prompt"]: both.problems[number]["gold"] for number, *_ in both.of(path)} for path in (old, new)
    ]
    assert questions == [{"Q0?": "0", "Q1?": "1"}, {"New?": "7", "Q1?": "1"}]
    assert len(both.problems) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.loss", "oops"),
        ("training.loss", [1.0, 2.0]),
        ("training.loss", [["a", 1.0]]),
        ("training.loss", [[1, 10**400]]),
        ("sharpness", "oops"),
        ("sharpness", [{"step": "a", "blocks": [{"lambda_max": 1.0}]}]),
    ],
)
def test_a_damaged_part_of_a_record_costs_that_part_alone(runs, write, change, caplog, key, value):
    path = write(sharpness=[{"step": 1, "blocks": [{"lambda_max": 2.0}]}])
    change(path, key, value)
    cells = embedded(page.page(tree(load_records(runs))))["cells"]
    [detail] = cells["details"]
    name = "training.loss" if "loss" in key else key.split(".")[0]
    assert caplog.messages == [f"left out {name} of {path}, which is damaged"]
    assert (detail["loss"] == []) == (name == "training.loss") and (detail["sharpness"] == []) == (name == "sharpness")
    assert (detail["metrics"] == {}) == (name == "metrics")


def test_the_one_problem_says_whose_answers_it_shows(runs, write, complete):
    for rank, lr in ((8, 2e-3), (64, 2e-3), (64, 2e-4)):
        complete(write("lora", lr, 0, 0.5, config={"rank": rank}), 0.5)
    assert tree(load_records(runs))["answers"]["title"] == (
        "tiny · arithmetic · rank 64 · batch size 16 · 2400 samples · 1 epoch"
    )


def test_a_cut_is_marked():
    assert cut("a" * 30, 30) == "a" * 30 and cut("a" * 31, 30) == "a" * 26 + " […]"


def test_command(runs, sweep, tmp_path, capsys):
    assert main(["report", str(runs)]) == 0
    assert capsys.readouterr().out.startswith(f"{runs / 'report.html'} (")
    assert embedded((runs / "report.html").read_text())["title"] == "LoRA variants on tiny · arithmetic"


@pytest.mark.parametrize("out", ["r.txt", "none/r.html", "taken.html"])
def test_a_page_that_cannot_be_written_is_one_line(runs, sweep, tmp_path, capsys, caplog, out):
    (tmp_path / "taken.html").mkdir()
    assert main(["report", str(runs), "--out", str(tmp_path / out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_empty_folder_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no record in" in capsys.readouterr().err


def test_settings_of_one_cell_need_no_frame_each(runs, write, complete, monkeypatch):
    """A random search leaves thousands of settings: each statistic groups once, whatever their number."""
    calls = Counter()
    for owner, name in ((pd.DataFrame, "groupby"), (pd.DataFrame, "__getitem__"), (pd.Series, "__init__")):
        original = getattr(owner, name)

        def counted(*given, _name=name, _original=original, **named):
            calls[_name] += 1
            return _original(*given, **named)

        monkeypatch.setattr(owner, name, counted)
    monkeypatch.setattr("analysis.questions.selection.cross_fit", lambda *_: pytest.fail("one learning rate leaves no choice"))
    needed = []
    for start, end in ((0, 10), (10, 40)):
        for i in range(start, end):
            complete(write("lora", 1e-3 + 1e-5 * i, 0, 0.5, config={"trainer": {"warmup_ratio": i / 1000}}), 0.5)
        frame = load_records(runs)
        calls.clear()
        assert len(tree(frame)["settings"]) == end
        needed.append(dict(calls))
    assert needed[0] == needed[1], "calls grow with the number of settings"


def test_the_number_of_settings_changes_nothing_of_each(runs, write):
    write("lora", 2e-4, 0, 0.5, config={"train_samples": None})
    alone = tree(load_records(runs))["settings"][0]
    write("lora", 2e-3, 0, 0.9, config={"rank": 64})
    again = tree(load_records(runs))["settings"]
    assert page.encode(alone) in map(page.encode, again) and "all samples" in alone["subtitle"]


def measured(folder, **sharpness):
    """One block a variant, as `python -m hessian` leaves it."""
    folder.mkdir()
    for variant, value in sharpness.items():
        identity = {"model": "sha256:" + "a" * 64, "name": "0.q_proj", "samples": 40, "variant": {"name": variant}}
        record = {
            **{"schema_version": 1, "kind": "hessian_block", "model": "tiny", "task": "arithmetic", "variant": variant},
            **{"matrix": "q_proj", "layer": 0, "layers": 4, "rank": 8, "seed": 0, "lambda_max": value, "lambda_min": -0.1},
            **{"converged": True, "data": {}, "growth": [], "identity": identity, "finished": "2026-03-01T10:00:00+00:00"},
        }
        (folder / f"{variant}.json").write_text(json.dumps(record))
    return folder


def sharper(write):
    """Best learning rates in the inverse of λmax = 1, 10, 100."""
    for i, variant in enumerate(("lora", "pissa", "olora")):
        for lr in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
            write(variant, lr, 0, 0.9 - 0.1 * abs(math.log10(lr) + 2 + i))


def test_the_rule_of_sharpness_is_tested_where_blocks_are_shown(runs, write, tmp_path):
    sharper(write)
    frame, blocks = load_records(runs), load_blocks(measured(tmp_path / "hessian", lora=1.0, pissa=10.0, olora=100.0))
    rules = tree(frame, blocks=blocks)["rules"]
    (finding,) = [row for row in rules["findings"] if "λmax" in row[1]]
    assert finding[2] == pytest.approx(-1) and finding[5] == 1 and not any("λmax" in gap for gap in rules["gaps"])
    (gap,) = [gap for gap in tree(frame)["rules"]["gaps"] if "λmax" in gap]
    assert "needs records of python -m hessian" in gap
    other_blocks = load_blocks(measured(tmp_path / "other", dora=1.0, loft=2.0))
    (gap,) = [gap for gap in tree(frame, blocks=other_blocks)["rules"]["gaps"] if "λmax" in gap]
    assert "nothing to compare" in gap
    two = blocks[blocks["variant"] != "olora"]
    (gap,) = [gap for gap in tree(frame, blocks=two)["rules"]["gaps"] if "λmax" in gap]
    assert "three variants" in gap


def test_unreadable_hessian_records_that_nobody_asked_for_are_a_marked_gap(runs, sweep, capsys, caplog):
    (runs / "hessian").mkdir()
    assert main(["report", str(runs)]) == 0 and main(["heuristics", str(runs)]) == 0
    assert not any("sharpness" in message for message in caplog.messages), "an empty folder is no gap"
    (runs / "hessian" / "a.json").write_text("{")
    assert main(["report", str(runs)]) == 0
    assert any(message.startswith("no sharpness: no record of a block in") for message in caplog.messages)
    data = embedded((runs / "report.html").read_text())
    assert data["sharpness"]["reason"] == "no record of RUNS/hessian can be read"
    assert any(line.endswith("λmax: no record of RUNS/hessian can be read.") for line in data["rules"]["gaps"])
    capsys.readouterr()
    assert main(["heuristics", str(runs)]) == 0
    assert "λmax: no record of RUNS/hessian can be read." in capsys.readouterr().out
    for command in ("report", "heuristics"):
        assert main([command, str(runs), "--hessian", str(runs / "hessian")]) == 2
        assert "no record of a block in" in capsys.readouterr().err
