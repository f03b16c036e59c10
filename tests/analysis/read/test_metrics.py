"""Metrics beside a cell's own score: what there is, what is shown in the place of test scores, and which way is better."""

import json
import math

import pytest

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.figures.pareto import draw as draw_pareto
from analysis.published import FOLDER as PUBLISHED
from analysis.questions.compare import compare, text
from analysis.questions.suggestions import suggestions
from analysis.read.load import load_beside, load_records, load_together
from analysis.read.scores import as_scores
from analysis.report.data import tree
from analysis.stats.curves import peaks
from analysis.tables import table

LM_EVAL = {"config": {"evaluator": {"name": "lm_eval"}}}


def results(acc, perplexity, **more):
    """What `evaluator=lm_eval` leaves in a record."""
    return {
        "arc_easy": {"acc": acc, "acc_stderr": 0.02, "acc_norm": acc / 2, "version": 1.0, "n": 400},
        "wikitext": {
            "word_perplexity": perplexity,
            "word_perplexity_stderr": None,
            "bits_per_byte": 0.5,
            "version": 2,
            "n": 62,
        },
    } | more


@pytest.fixture
def sweep(runs, write):
    """LoRA and PiSSA at three learning rates: each of four scores has its best at another place."""
    base = {"test": 0.01, "validation": 0.0, "lm_eval": results(0.25, 80.0)}
    for lr, test, validation, acc, perplexity in [
        (2e-4, 0.5, 0.9, 0.60, 20.0),
        (2e-3, 0.9, 0.5, 0.55, 10.0),
        (2e-2, 0.4, 0.4, 0.70, 40.0),
    ]:
        for variant, less in (("lora", 0.0), ("pissa", 0.1)):
            write(
                variant,
                lr,
                0,
                test - less,
                validation - less,
                lm_eval=results(acc - less, perplexity * (1 + less)),
                base=base,
                validation_loss=1.0 if lr == 2e-2 else 2.0,
                **LM_EVAL,
            )
    return runs


def best(frame, kind="peak"):
    return peaks(frame).set_index("variant")[[f"{kind}_lr", f"{kind}_mean"]].loc["lora"].tolist()


def test_a_metric_takes_the_place_of_the_test_score(sweep):
    assert best(load_records(sweep)) == [2e-3, 0.9]
    frame = load_records(sweep, metric="arc_easy/acc")
    assert best(frame) == [2e-2, 0.70] and best(frame, "selected") == [2e-4, 0.60]  # selected on validation, as ever
    assert set(frame["base_test"]) == {0.25} and set(frame["problems"]) == {400}
    assert set(frame["options"]) == {"score: arc_easy/acc"}


def test_the_lowest_perplexity_is_the_best(sweep):
    frame = load_records(sweep, metric="wikitext/word_perplexity")
    assert best(frame) == [2e-3, pytest.approx(1 / 10)]
    assert frame["base_test"].iloc[0] == pytest.approx(1 / 80)
    shown = table(frame)
    assert "wikitext/word_perplexity as 1/perplexity, the mean probability: less of it is better" in " ".join(shown.split())


def test_another_metric_selects(sweep):
    assert best(load_records(sweep, select_by="validation_loss"), "selected") == [2e-2, 0.4]
    frame = load_records(sweep, metric="wikitext/word_perplexity", select_by="test")
    assert best(frame, "selected") == [2e-3, pytest.approx(0.1)]  # by the cells' own test scores, not by what is shown
    same = load_records(sweep, metric="arc_easy/acc", select_by="arc_easy/acc")
    assert "so optimistic" in " ".join(same.attrs["scores"])
    _, line = (sweep.line for sweep in suggestions(load_records(sweep, select_by="arc_easy/acc")))
    assert "lr=6.325e-3,1.125e-2,0.02,".replace("0.02", "2e-2") in line


@pytest.mark.parametrize(
    ("metric", "select_by", "words"),
    [
        ("test", "test", "best test score; chosen on the same test problems, so optimistic"),
        ("test", "test/arithmetic", "best test/arithmetic; chosen on the same test problems, so optimistic"),
        ("arc_easy/acc", "arc_easy/acc_norm", "best arc_easy/acc_norm; chosen on the same test problems, so optimistic"),
        ("arc_easy/acc", "test", "best test score; the fair one to compare"),
        ("test", "validation_loss", "best validation_loss; the fair one to compare"),
        ("test", "validation", "best validation score; the fair one to compare"),
    ],
)
def test_what_is_selected_says_by_what(sweep, capsys, tmp_path, metric, select_by, words):
    """In every table, figure and section that has it."""
    best, _, verdict = words.partition("; ")
    options = ["--metric", metric, "--select-by", select_by]
    for kind in ("peaks", "difference", "metrics"):
        assert main(["table", str(sweep), "--kind", kind, *options]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert best in shown and (kind != "peaks" or f"with the {words}." in shown)
        assert select_by == "validation" or "best validation score" not in shown
        assert (kind != "difference") or ("Learning rates chosen by test score" in shown) == ("optimistic" in words)
    assert main(["plot", str(sweep), "--kind", "pareto", "--out", str(tmp_path / "pareto.svg"), *options]) == 0
    frame = load_records(sweep, metric=metric, select_by=select_by)
    captions = " ".join(draw_pareto(frame).get_supxlabel().split())
    assert f"learning rate of the {best}" in captions and ("optimistic" in captions) == ("optimistic" in words)
    data = tree(frame)
    assert data["choice"] == {"by": select_by, "best": best, "verdict": verdict, "on_test": "optimistic" in words}
    assert {row["chosen"] for setting in data["settings"] for row in setting["differences"]["rows"]} == {select_by}
    assert f"learning rates of the {best} they" in " ".join(data["summary"])


def test_diverged_cells_score_zero_and_those_without_the_metric_are_counted(sweep, write, caplog):
    write("lora", 6e-2, 0, 0.0, status="diverged", **LM_EVAL)
    write("dora", 2e-3, 0, 0.8)
    write("dora", 6e-2, 0, 0.0, status="diverged")  # with an evaluator that measures no such thing
    for metric in ("arc_easy/acc", "wikitext/word_perplexity"):
        caplog.clear()
        frame = load_records(sweep, metric=metric)
        assert set(frame["variant"]) == {"lora", "pissa"}
        assert frame.loc[frame["lr"] == 6e-2, ["test", "validation"]].to_numpy().tolist() == [[0, 0]]
        assert caplog.messages == [f"left out cells without {metric}: 2"]
    assert best(frame) == [2e-3, pytest.approx(0.1)]  # a perplexity of 0 would have been the best


def test_a_wrong_name_names_the_nearest_and_all(sweep, capsys):
    assert main(["table", str(sweep), "--metric", "arc_esy/acc"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(
        "lorabench: no cell has --metric arc_esy/acc (did you mean arc_easy/acc?): there are arc_easy/acc, arc_"
    )
    assert line.count("\n") == 1 and "validation" not in line and "stderr" not in line and "version" not in line
    assert main(["table", str(sweep), "--metric", "validation_loss"]) == 2  # it is no test score
    assert main(["table", str(sweep), "--select-by", "loss"]) == 2
    assert "(did you mean validation_loss?): there are" in capsys.readouterr().err
    assert main(["table", str(sweep), "--metric", "xyz"]) == 2
    assert capsys.readouterr().err.startswith("lorabench: no cell has --metric xyz: there are arc_easy/acc, ")


def test_every_command_of_scores_takes_a_metric(sweep, capsys, tmp_path):
    words = ["--metric", "arc_easy/acc"]
    for kind in ("peaks", "grid", "batch", "rank", "duration", "difference", "cost", "cross_fitted", "metrics"):
        assert main(["table", str(sweep), "--kind", kind, *words]) == 0
        assert "arc_easy/acc" in capsys.readouterr().out
    for kind in ("lr_curves", "pareto"):
        assert main(["plot", str(sweep), "--kind", kind, "--out", str(tmp_path / f"{kind}.svg"), *words]) == 0
    for command in (["heuristics", sweep], ["compare", sweep, sweep], ["report", sweep]):
        assert main([*map(str, command), *words]) == 0
    assert "score: arc_easy/acc" in (sweep / "report.html").read_text()
    assert main(["table", str(PUBLISHED), "--kind", "search", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_two_sets_are_compared_by_a_metric(sweep):
    frames = load_together([sweep, sweep], wide=True, metric="arc_easy/acc")
    cells = compare(*frames)
    assert set(cells["how"]) == {"proportions"} and cells["difference"].tolist() == [0] * 6
    assert "in the place of the test score: arc_easy/acc." in text(cells, ("A", "B"))
    cells = compare(*load_together([sweep, sweep], wide=True, metric="wikitext/word_perplexity"))
    assert set(cells["how"]) == {""}  # a mean probability is no proportion of problems


def test_published_cells_have_no_other_metric(sweep, caplog):
    assert set(load_beside(sweep, PUBLISHED, metric="arc_easy/acc")["source"]) == {""}
    assert caplog.messages == ["left out published cells, which have no arc_easy/acc"]


def test_test_sets_and_their_further_numbers(runs, write):
    sets = {"humaneval": {"score": 0.4, "n": 164, "stderr": 0.04, "plus": 0.3}, "mbpp": {"score": 0.6, "n": 378}}
    metrics = {"test": {"mean": 0.5, "sets": sets}, "validation": {"mean": 0.7, "sets": {"likelihood": {"score": 0.7, "n": 9}}}}
    write(metrics=metrics)
    for name, score in {"test/humaneval": 0.4, "test/humaneval/plus": 0.3, "test/mbpp": 0.6}.items():
        assert load_records(runs, metric=name)["test"].tolist() == [score]


def test_what_holds_no_objects_is_refused_by_name(runs, write, caplog):
    write()
    write(seed=1, lm_eval={"arc_easy": 0.5})
    write(
        seed=2, lm_eval=results(math.nan, math.inf, odd={"acc": None, "f1": True, "big": 10**400})
    )  # none of which is a value
    write(seed=3, status="diverged", metrics=None)
    frame = load_records(runs)
    assert [line.partition("record.json: ")[2] for line in caplog.messages] == ["lm_eval is no object of objects"]
    assert list(max(frame["metrics"], key=len)) == ["test/arithmetic", "validation/arithmetic", "wikitext/bits_per_byte"]


def test_what_counts_is_shown_and_is_no_score(runs, write, capsys):
    of_set = {"score": 0.6, "n": 160, "groups": 80, "stderr": 0.04, "turn_1": 0.7, "turn_2": 0.5, "unrated": 3}
    for seed, unrated in enumerate((3, 4)):
        test = {"mean": 0.6, "sets": {"mt_bench": of_set | {"unrated": unrated}}}
        write(seed=seed, metrics={"test": test, "validation": {"mean": 0.7, "sets": {}}})
    for metric in ("groups", "unrated", "n", "stderr"):
        assert main(["table", str(runs), "--metric", f"test/mt_bench/{metric}"]) == 2
        offered = capsys.readouterr().err.partition("there are ")[2]
        assert offered == "test, test/mt_bench, test/mt_bench/turn_1, test/mt_bench/turn_2\n"
    shown = table(load_records(runs), "metrics")
    assert "groups" not in shown and "3.5 ± 0.707" in shown and "0.707*" not in shown


UNITS = [
    ("a/acc_norm", [0.0, 0.5], [0.0, 0.5]),
    ("a/exact_match,strict-match", [0.4], [0.4]),
    ("a/bleu", [0.5, 50.0], [0.005, 0.5]),
    ("a/bleu", [0.8], [0.008]),  # untrained models are below one percent
    ("a/bleu_acc", [0.8], [0.8]),
    ("a/f1:percent", [0.8], [0.008]),
    ("a/f1:fraction", [0.8], [0.8]),
    ("a/brier_score", [0.5], [0.75]),
    ("a/ter", [0.5], [0.995]),
    ("a/byte_perplexity", [2.0], [0.5]),
    ("a/bits_per_byte", [2.0], [0.25]),
    ("a/loss", [0.0], [1.0]),
]


@pytest.mark.parametrize(("name", "values", "scores"), UNITS)
def test_the_unit_is_that_of_the_metric_whatever_its_values(runs, write, name, values, scores):
    metric = name.partition(":")[0].removeprefix("a/")
    for seed, value in enumerate(values):
        write(seed=seed, lm_eval={"a": {metric: value, "n": 100}})
    for column, frame in (("test", load_records(runs, metric=name)), ("validation", load_records(runs, select_by=name))):
        assert frame.sort_values("seed")[column].tolist() == pytest.approx(scores)


@pytest.mark.parametrize("values", [(0.3, 0.8), (30.0, 80.0), (0.3, 80.0)])
@pytest.mark.parametrize("option", ["--metric", "--select-by"])
def test_a_unit_that_nothing_tells_is_asked_for(runs, write, capsys, option, values):
    for seed, value in enumerate(values):
        write(seed=seed, lm_eval={"squadv2": {"f1": value}})
    assert main(["table", str(runs), option, "squadv2/f1"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "write squadv2/f1:fraction or squadv2/f1:percent, if it is either;" in line
    assert main(["table", str(runs), option, "squadv2/f1:percent"]) == 0


@pytest.mark.parametrize(
    ("name", "lower", "unit", "values"),
    [
        ("a/margin", False, "fraction", [-0.1, 0.5]),
        ("a/margin", False, "percent", [0.5, 300.0]),
        ("a/acc", False, "fraction", [0.5, 30.0]),
        ("a/ter", True, "percent", [150.0]),
        ("a/brier", True, "brier", [2.5]),
    ],
)
def test_values_out_of_the_unit_are_no_scores(name, lower, unit, values):
    with pytest.raises(
        AnalysisError, match=f"{name} is from .*, and a score in its unit from 0 to (1|2|100): .* as recorded"
    ) as error:
        as_scores(name, lower, unit, values)
    assert ("write a/acc:percent if that" in str(error.value)) == (name == "a/acc")


def test_a_record_says_itself_what_is_lower(runs, write):
    for lr, surprise in ((2e-4, 0.2), (2e-3, 0.6)):
        write(lr=lr, lm_eval={"own": {"surprise": surprise, "n": 10, "lower_is_better": ["surprise"]}})
    assert best(load_records(runs, metric="own/surprise:fraction")) == [2e-4, pytest.approx(0.8)]


def test_all_metrics_in_one_table_as_they_are(sweep, write):
    write("lora", 2e-4, 1, 0.5, 0.9, lm_eval=results(0.7, 30.0), **LM_EVAL)
    write("lora", 2e-4, 2, 0.5, 0.9, status="diverged", **LM_EVAL)
    lines = table(load_records(sweep), "metrics").splitlines()
    rows = {line[:30].strip(): line for line in lines if "word_perplexity" in line or line.strip().startswith("pissa")}
    assert any(
        "wikitext/word_perplexity ↓" in line and "lora" in line and "2e-4" in line and "± 7.0711" in line for line in lines
    ), rows
    assert any(
        "pissa" in line and "22.0000*" in line.replace("22*", "22.0000*") for line in lines
    )  # the lower of the two is marked
    csv = table(load_records(sweep), "metrics", "csv")
    assert "wikitext/word_perplexity,True,lora,0.0002,validation,25.0" in csv


def test_export_has_each_metric_as_recorded(sweep, tmp_path):
    assert main(["export", str(sweep), "--out", str(tmp_path / "cells.csv"), "--columns", "lr,wikitext/word_perplexity"]) == 0
    assert (tmp_path / "cells.csv").read_text().splitlines()[:2] == ["lr,wikitext/word_perplexity", "0.0002,20"]


def test_the_report_has_a_section_and_the_cells_own_view(sweep):
    data = tree(load_records(sweep))
    [setting] = data["settings"]
    of_lora = {row["metric"]: row["mean"] for row in setting["metrics"] if row["variant"] == 0}
    assert of_lora == {"arc_easy/acc": 0.6, "arc_easy/acc_norm": 0.3, "validation_loss": 2.0} | {
        "wikitext/word_perplexity": 20.0,
        "wikitext/bits_per_byte": 0.5,
    }
    assert data["cells"]["details"][0]["further"]["wikitext/word_perplexity"] == 20.0
    json.dumps(setting["metrics"])


def test_a_score_of_0_that_is_written_as_a_whole_number_is_a_score(runs, write):
    for seed, acc in enumerate((0, 0.5)):
        write("lora", 2e-3, seed, 0.5, 0.5, lm_eval={"arc_easy": {"acc,none": acc, "sample_len": 9}}, **LM_EVAL)
    for acc in (0, 1):
        write("pissa", 2e-3, acc, 0.5, 0.5, lm_eval={"arc_easy": {"acc,none": acc, "sample_len": 9}}, **LM_EVAL)
    cells = load_records(runs, metric="arc_easy/acc,none")
    assert sorted(cells["test"]) == [0.0, 0.0, 0.5, 1.0]
    with pytest.raises(AnalysisError, match="no cell has"):
        load_records(runs, metric="arc_easy/sample_len")
