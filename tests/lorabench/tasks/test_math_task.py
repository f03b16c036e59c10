import json
import sys

import pytest

from lorabench.errors import UserError
from lorabench.tasks.alpaca import PROMPT
from lorabench.tasks.base import Example, summarize
from lorabench.tasks.math import STEPS, Math, gsm8k_solution


def make_math(path, **changed):
    return Math(
        **{
            "name": "math",
            "max_new_tokens": 256,
            "validation_samples": 2,
            "path": str(path),
            "test": {"gsm8k": {"files": ["test"]}},
            **changed,
        }
    )


def test_a_fraction_without_its_zero_is_not_the_whole_number(tmp_path):
    example = Example("gsm8k/0", "", answer="5", set="gsm8k")
    answers = [".5", "-.5", "5" * 5000, "5", "5.0", "05"]
    assert [make_math(tmp_path).score(example, f"The answer is: {answer}") for answer in answers] == [0, 0, 0, 1, 1, 1]


def test_gsm8k_answers_in_metamath_form():
    target, gold = gsm8k_solution("He pays 2*1000=<<2*1000=2000>>2000.\n#### 2,000")
    assert target == "He pays 2*1000=2000.\nThe answer is: 2000"
    assert gold == "2000"


@pytest.mark.parametrize(
    ("answer", "target", "gold"),
    [
        ("51", "The answer is: 51", "51"),
        (51, "The answer is: 51", "51"),
        (1e20, "The answer is: 100000000000000000000", "100000000000000000000"),
        (-0.5, "The answer is: -0.5", "-0.5"),
        pytest.param(10**400, f"The answer is: 1{'0' * 400}", f"1{'0' * 400}", id="beyond-floats"),
        ("$1,234.", "The answer is: $1234.", "$1234."),
        ("####51", "The answer is: 51", "51"),
        ("So.\n####51", "So.\nThe answer is: 51", "51"),
        ("So. #### 51", "So.\nThe answer is: 51", "51"),
        ("So.\r\n#### 51\r\n", "So.\r\nThe answer is: 51", "51"),
        ("So.\n#### 1,234", "So.\nThe answer is: 1234", "1234"),
        ("So.\n#### $5", "So.\nThe answer is: $5", "$5"),
        ("So.\n#### -$5", "So.\nThe answer is: -$5", "-$5"),
        ("So.\n#### $-1,234.5", "So.\nThe answer is: $-1234.5", "$-1234.5"),
        ("So.\n#### −5", "So.\nThe answer is: −5", "−5"),
        ("So.\n#### 5%", "So.\nThe answer is: 5%", "5%"),
    ],
)
def test_a_plain_number_is_a_gold_answer(tmp_path, answer, target, gold):
    for name in ("train", "test"):
        write(tmp_path, f"{name}.jsonl", [{"question": "Q", "answer": answer}])
    task = make_math(tmp_path)
    for example in (task.source_examples()[0], task.all_test_examples()[0]):
        assert (example.target, example.answer) == (target, gold)
        assert task.score(example, f"So.\n{example.target}") == 1
        assert task.score(example, "The answer is: 52") == 0


NO_GOLD = "has no gold answer in answer="
NO_NUMBER = 'has the gold answer "{}" in answer; wanted one number alone, such as 5'


@pytest.mark.parametrize(
    ("answer", "message"),
    [(answer, NO_GOLD) for answer in ("It is 51", "So.\n#### ", "####", "5 or 6")]
    + [("4/0", NO_NUMBER.format("4/0"))]
    + [
        (f"So.\n#### {gold}", NO_NUMBER.format(gold))
        for gold in ("five", "4/0", "1e3", "3 1/2", "1 000", "2:30", "12 or 13", "12, 13", "1,2", "5 apples", "5 million", "--5", "-$-5", "5\n#### 6")
    ],
)  # fmt: skip
def test_a_row_without_one_number_for_gold_is_named(tmp_path, answer, message):
    for name in ("train", "test"):
        write(tmp_path, f"{name}.jsonl", [{"question": "Q", "answer": "#### 1"}, {"question": "R", "answer": answer}])
    task = make_math(tmp_path)
    for name, load in (("train", task.source_examples), ("gsm8k", task.all_test_examples)):
        with pytest.raises(UserError, match=rf"^task=math: row {name}/1 \(.*jsonl, line 2\) ") as caught:
            load()
        assert message.replace("\n", "\\n") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_golds_of_the_combined_file(lm_eval, tmp_path):
    head, tail = PROMPT.split("{instruction}")
    row = {"instruction": head + "Q" + tail + STEPS, "output": 7, "type": "gsm8k"}
    write(tmp_path, "both.jsonl", [row, {**row, "output": r"\pi", "type": "math"}])
    sets = {name: {"files": ["both"]} for name in ("gsm8k", "math")}
    assert [example.answer for example in make_math(tmp_path, test=sets).test_examples()] == ["7", r"\pi"]
    for changed, message in (
        ({"output": "none"}, r"row gsm8k/0 \(.*, line 1\) has the gold answer \"none\" in output; wanted one number"),
        ({"output": " "}, r"row gsm8k/0 \(.*, line 1\) has the blank text output="),
        ({"type": None}, r"row gsm8k/0 \(.*, line 1\) has type=null; wanted a text"),
        ({"type": "GSM8K"}, r"both\.jsonl has no row of type gsm8k; it has GSM8K$"),
    ):
        write(tmp_path, "both.jsonl", [{**row, **changed}])
        with pytest.raises(UserError, match=message):
            make_math(tmp_path, test={"gsm8k": {"files": ["both"]}}).test_examples()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"solution": r"It is \boxed{ }."}, r"has no \\boxed answer"),
        ({"solution": r"It is \boxed{5."}, r"has no \\boxed answer"),
        ({"answer": ""}, r'has the blank text answer=""'),
        ({"answer": None}, "has answer=null; wanted a text"),
        ({"answer": ["5"]}, r'has answer=\["5"\]; wanted a text'),
    ],
)
def test_golds_of_math(lm_eval, tmp_path, row, message):
    write(tmp_path, "math.jsonl", [{"problem": "c", **row}])
    with pytest.raises(UserError, match=rf"row math/0 \(.*, line 1\) {message}"):
        make_both(tmp_path, sets=["math"]).test_examples()
    write(tmp_path, "math.jsonl", [{"problem": "c", "answer": 5}])
    assert make_both(tmp_path, sets=["math"]).test_examples()[0].answer == "5"


def test_own_solutions_of_the_real_gsm8k_score_full_marks(shared_data):
    task = make_math(shared_data / "gsm8k", validation_samples=500)
    assert (len(task.train_examples()), len(task.validation_examples()), len(task.test_examples())) == (6973, 500, 1319)
    for example in [*task.train_examples(), *task.validation_examples(), *task.test_examples()]:
        assert task.score(example, task.target(example)) == 1, example.id
        assert "<<" not in example.target
    assert not {e.question for e in task.train_examples()} & {e.question for e in task.validation_examples()}


def test_prompts_are_those_of_the_reference(shared_data):
    task = make_math(shared_data / "gsm8k")
    reference = json.loads((shared_data / "pissa_eval" / "metamath_test.json").read_text())
    reference_prompts = {row["instruction"] for row in reference if row["type"] == "gsm8k"}
    assert {task.evaluation_prompt(example) for example in task.test_examples()} == reference_prompts
    assert task.evaluation_prompt(task.test_examples()[0]).startswith(task.prompt(task.test_examples()[0]))


def metamath_rows(n):
    return [
        {"query": f"Q{i}?", "response": f"So.\nThe answer is: {i}", "type": "GSM_Rephrased", "original_question": f"O{i // 3}"}
        for i in range(n)
    ]


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rephrasings_of_one_question_stay_on_one_side(tmp_path):
    write(tmp_path, "train.jsonl", metamath_rows(60))
    write(tmp_path, "test.jsonl", [{"question": "a", "answer": "b\n#### 1"}])
    task = make_math(tmp_path, validation_samples=10)
    sides = [{int(e.question[1:-1]) // 3 for e in split} for split in (task.train_examples(), task.validation_examples())]
    assert len(task.validation_examples()) == 10
    assert not sides[0] & sides[1]
    example = task.validation_examples()[0]
    assert task.score(example, example.target) == 1
    write(tmp_path, "train.jsonl", list(reversed(metamath_rows(60))))
    again = make_math(tmp_path, validation_samples=10)
    assert {int(e.question[1:-1]) // 3 for e in again.validation_examples()} == sides[1]  # independent of the rows' order


def test_validation_has_only_answers_that_can_be_scored(tmp_path):
    latex = [{"query": f"M{i}?", "response": r"The answer is: \frac{3}{4}", "type": "MATH_Rephrased"} for i in range(20)]
    whole = [{"query": f"N{i}?", "response": "The answer is: 5", "type": "MATH_AnsAug"} for i in range(20)]
    write(tmp_path, "train.jsonl", latex + whole + metamath_rows(30))
    write(tmp_path, "test.jsonl", [{"question": "a", "answer": "b\n#### 1"}])
    task = make_math(tmp_path, validation_samples=9)
    assert len(task.validation_examples()) == 9
    assert all(e.question.startswith("Q") for e in task.validation_examples())
    assert len(task.train_examples()) == 70 - 9 * 3
    example = Example("x", "", answer="3")
    assert task.score(example, r"The answer is: \sqrt{2}") == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "a"}\n', "has the columns question; wanted"),
        ("not json\n", "is not valid JSON"),
        ('{"question": "a", "answer": "b"}\n{"question": \n', "line 2, is not valid JSON"),
        ("[1, 2]\n", r"line 1, holds a list|index 0, holds a number"),
    ],
)
def test_broken_data_is_named(tmp_path, content, message):
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        make_math(tmp_path).train_examples()


def test_missing_data_names_the_files(tmp_path):
    with pytest.raises(UserError, match=r"found no file train \("):
        make_math(tmp_path).train_examples()


def test_without_network_the_hub_error_names_three_ways():
    hub = {"hub": "meta-math/MetaMathQA", "revision": "aa4f34d3", "split": "train"}
    task = Math(name="math", max_new_tokens=9, validation_samples=2, train=hub)
    with pytest.raises(UserError, match=r"go online once .* task\.path=DIR.* task=arithmetic"):
        task.train_examples()


@pytest.fixture
def lm_eval():
    """MATH is scored with lm-eval, which is optional."""
    return pytest.importorskip("lm_eval", reason="lm_eval is not installed (make install-eval)")


def make_both(path, **changed):
    sets = {"gsm8k": {"files": ["gsm8k", "test", "metamath_test"]}, "math": {"files": ["math", "math500", "metamath_test"]}}
    return make_math(path, test=sets, **changed)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"\dfrac{1}{2}"),
        (r"\frac{1}{2}", r"\tfrac12"),
        (r"\frac{1}{2}", "0.5"),
        (r"\frac{1}{2}", ".5"),
        (r"\frac{3}{4}", "3/4"),
        (r"-\frac{1}{2}", r"-\dfrac{1}{2}"),
        ("-3", "-3."),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        ("2x + 1", "2x+1"),
        (r"5\text{ cm}", "5"),
        ("12", r"12\text{ units}"),
        (r"50\%", "50"),
        (r"90^\circ", "90"),
        ("90", r"90^{\circ}"),
        (r"\$18", "18"),
        ("5", "x = 5"),
        (r"\sqrt{3}", r"\sqrt3"),
        ("10,000", r"10,\!000"),
    ],
)
def test_equal_answers_of_math(lm_eval, tmp_path, gold, answer):
    example = Example("math/0", "", answer=gold, set="math")
    task = make_both(tmp_path)
    assert task.score(example, f"So.\nThe answer is: {answer}") == 1
    assert task.score(example, f"So.\nThe answer is: {answer}.\n\nAnd more.") == 1
    assert task.score(example, f"So the answer is {answer}") == 0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"\frac{1}{3}"),
        (r"\frac{1}{2}", r"-\frac{1}{2}"),
        ("3", "-3"),
        ("(3,4)", "(4,3)"),
        (r"\sqrt{3}", "3"),
        ("12", "1,2"),
        ("5", ""),
        ("5", "5 or 6"),
        ("5", "5\nI hope this helps"),
        ("p - q", "-q + p"),  # equal in truth, and Math-Verify says so: is_equiv compares text
        ("0.25", r"\frac{1}{4}"),
    ],
)
def test_other_answers_of_math_are_wrong(lm_eval, tmp_path, gold, answer):
    example = Example("math/0", "", answer=gold, set="math")
    assert make_both(tmp_path).score(example, f"So.\nThe answer is: {answer}") == 0


def test_gold_answers_of_the_real_math_score_full_marks(lm_eval, shared_data, capsys):
    folder = shared_data / "pissa_eval"
    task = make_math(folder, test={"math": {"files": ["math500"]}})
    assert len(task.test_examples()) == 500
    for example in task.test_examples():
        for end in ("", ".", ".\n"):
            assert task.score(example, f"So.\nThe answer is: {example.answer}{end}") == 1, example.id
        assert task.score(example, f"So $\\boxed{{{example.answer}}}$.") == 0
        assert task.score(example, f"The answer is: 1+{example.answer}") == 0
    everything = make_math(folder, test={"math": {"path": str(folder / "metamath_test.json"), "rows": 5000}}).test_examples()
    [line] = capsys.readouterr().err.splitlines()
    assert "1 of 5000 golds of math can be met by no answer, such as math/4365 (" in line
    wrong = [example for example in everything if not task.score(example, f"The answer is: {example.answer}")]
    assert len(everything) == 5000
    # The reference drops a final dot from the completion, and this one gold answer of 5,000 ends with one.
    assert [example.answer for example in wrong] == [r"\frac{7}{5} + \frac{1}{5} i."]


def test_one_file_of_the_reference_serves_both_sets(lm_eval, shared_data):
    folder = shared_data / "pissa_eval"
    task = make_both(folder)
    rows = json.loads((folder / "metamath_test.json").read_text())
    expected = [row for kind in ("gsm8k", "math") for row in rows if row["type"] == kind]
    file, sizes = str(folder / "metamath_test.json"), {"gsm8k": 1319, "math": 5000}
    combined = make_math(folder, test={name: {"path": file, "rows": rows} for name, rows in sizes.items()})
    assert [combined.evaluation_prompt(e) for e in combined.test_examples()] == [row["instruction"] for row in expected]
    assert [e.answer for e in combined.test_examples()] == [row["output"] for row in expected]
    assert [len([e for e in combined.test_examples() if e.set == name]) for name in ("gsm8k", "math")] == [1319, 5000]
    # math500.jsonl comes first in the folder, and its prompts and golds are those of the same problems there.
    golds = {example.question: example.answer for example in combined.test_examples()}
    five_hundred = [example for example in task.test_examples() if example.set == "math"]
    assert len(five_hundred) == 500
    assert all(golds[example.question] == example.answer for example in five_hundred)


def test_rows_of_a_combined_file_are_counted_by_set(lm_eval, tmp_path, capsys):
    head, tail = PROMPT.split("{instruction}")
    rows = [
        {"instruction": head + f"Q{i}" + tail + STEPS, "output": "1", "type": "gsm8k" if i < 3 else "math"} for i in range(5)
    ]
    write(tmp_path, "both.jsonl", rows)
    sets = {"gsm8k": {"files": ["both"], "rows": 3}, "math": {"files": ["both"], "rows": 2}}
    assert len(make_math(tmp_path, test=sets).test_examples()) == 5
    assert capsys.readouterr().err == ""
    sets["math"]["rows"] = 5000
    make_math(tmp_path, test=sets).test_examples()
    assert "math has 2 rows in" in capsys.readouterr().err


def test_rows_of_the_hub(lm_eval, tmp_path):
    write(tmp_path, "train.jsonl", metamath_rows(9))
    row = {"problem": "How many?", "solution": r"It is $\boxed{\frac12}$.", "level": "Level 1", "type": "Algebra"}
    write(tmp_path, "math.jsonl", [row, {**row, "problem": "Which?"}])
    task = make_math(tmp_path, test={"math": {}})
    assert [(e.id, e.question, e.answer) for e in task.test_examples()] == [
        ("math/0", "How many?", r"\frac12"),
        ("math/1", "Which?", r"\frac12"),
    ]
    write(tmp_path, "math.jsonl", [{**row, "solution": "It is one half."}])
    with pytest.raises(UserError, match=r"row math/0 \(.*, line 1\) has no \\boxed answer"):
        make_math(tmp_path, test={"math": {}}).test_examples()


def both_kinds(folder):
    latex = [
        {
            "query": f"M{i}?",
            "response": f"So.\nThe answer is: \\frac{{{i}}}{{7}}",
            "type": "MATH_AnsAug",
            "original_question": f"P{i // 2}",
        }
        for i in range(40)
    ]
    without = [{"query": f"W{i}?", "response": "So it is 3", "type": "MATH_AnsAug"} for i in range(5)]
    write(folder, "train.jsonl", [*latex, *without, *metamath_rows(60)])
    write(folder, "gsm8k.jsonl", [{"question": "a", "answer": "b\n#### 1"}])
    write(folder, "math.jsonl", [{"problem": "c", "answer": r"\pi"}])


def test_validation_has_the_kinds_of_the_test_sets(lm_eval, tmp_path):
    both_kinds(tmp_path)
    task = make_both(tmp_path, validation_samples=30)
    validation = task.validation_examples()
    assert len(validation) == 30 and {e.set for e in validation} == {"gsm8k", "math"}
    assert not any(e.question.startswith("W") for e in validation)
    assert not {e.group for e in validation} & {e.group for e in task.train_examples()}
    scores = task.score_all(validation, [task.target(e) for e in validation])
    assert [score["score"] for score in scores] == [1.0] * 30
    assert set(summarize(task, validation, scores)["sets"]) == {"gsm8k", "math"}
    swapped = [task.target(e) for e in [*validation[1:], validation[0]]]
    assert sum(score["score"] for score in task.score_all(validation, swapped)) == 0
    only = make_both(tmp_path, validation_samples=20, sets=["math"])
    assert {e.set for e in only.validation_examples()} == {"math"}


def test_without_lm_eval_only_gsm8k_works(tmp_path, monkeypatch):
    both_kinds(tmp_path)
    for module in ("lm_eval", "lm_eval.tasks.hendrycks_math.utils"):
        monkeypatch.setitem(sys.modules, module, None)
    task = make_both(tmp_path)
    for load in (task.test_examples, task.train_examples):
        with pytest.raises(UserError, match=r"`make install-eval`, or leave MATH out with task\.sets=\[gsm8k\]") as raised:
            load()
        assert "\n" not in str(raised.value)
    task = make_both(tmp_path, sets=["gsm8k"], validation_samples=10)
    assert {e.set for e in task.validation_examples()} == {e.set for e in task.test_examples()} == {"gsm8k"}
    assert task.score(task.test_examples()[0], "The answer is: 1") == 1


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        (
            "math",
            {"question": "a", "answer": "b"},
            r"row math/0 \(.*, line 1\) has the columns answer, question; wanted problem and solution or answer",
        ),
        (
            "gsm8k",
            {"problem": "a", "answer": "b"},
            r"row gsm8k/0 \(.*, line 1\) has the columns answer, problem; wanted question and answer",
        ),
        (
            "math",
            {"instruction": "a", "output": "b", "type": "math"},
            r"row math/0 \(.*, line 1\) has an instruction that is not the prompt",
        ),
    ],
)
def test_broken_test_rows_are_named(lm_eval, tmp_path, name, row, message):
    write(tmp_path, f"{name}.jsonl", [row])
    with pytest.raises(UserError, match=message):
        make_both(tmp_path, sets=[name]).test_examples()


def test_math_verify_is_heard_too(lm_eval, tmp_path):
    pytest.importorskip("math_verify", reason="math_verify is not installed (make install-eval)")
    pairs = [("p - q", "-q + p"), (r"\frac{1}{2}", "0.5"), ("3", "4"), (r"50\%", "50"), (r"\frac{1}{4}", "0.25")]
    examples = [Example(f"math/{i}", "", answer=gold, set="math") for i, (gold, _) in enumerate(pairs)]
    examples.append(Example("gsm8k/0", "", answer="3", set="gsm8k"))
    completions = [f"The answer is: {answer}" for _, answer in pairs] + ["The answer is: 3"]
    scores = make_both(tmp_path).score_all(examples, completions)
    assert [score["score"] for score in scores] == [0, 1, 0, 1, 0, 1]
    assert [score.get("verified") for score in scores] == [1, 1, 0, 1, 1, None]
    assert make_both(tmp_path).score_all(examples[:1], ["It is p - q"]) == [{"score": 0.0, "verified": 0.0}]
