"""Scorers by name: what is right and what is wrong, and what comes out of completions that nobody wants."""

import importlib.util
import sys

import pytest

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers import names, regex, scorer_of, suited, versions
from lorabench.tasks.scorers.number import FinalNumber, final_text
from lorabench.tasks.scoring import overlap, second_opinion

RIGHT = {  # scorer: [(response, completions that are right, completions that are wrong)]
    "exact": [
        ("Paris", ["Paris", " Paris\n"], ["paris", "Paris.", "It is Paris", ""]),
        ("two  words", ["two  words"], ["two words"]),
        ("naïve", ["naïve"], ["nai\u0308ve"]),
    ],
    "contains": [
        ("Paris", ["It is paris.", "PARIS", "(Paris)"], ["Parisian", "aParis", ""]),
        ("the River Seine", ["along The river\n  Seine it is"], ["the River", "River Seine"]),
        ("-5", ["it is -5"], ["it is 5", "it is -55"]),
        ("C++", ["C++ it is"], ["C+"]),
        ("東京", ["東京 です", "答えは 東京。"], ["京都"]),
        ("Straße", ["STRASSE 5"], ["Strase"]),
    ],
    "number": [
        ("#### 18", ["#### 18", "The answer is: 18.", "so it is 18", r"\boxed{18}", "3 + 15 = 18", "#### 18 apples, of 20"], ["17", "", "none", "18 or 19"]),
        ("1,234.50", ["1234.5", "$1,234.50"], ["1234", "1234.6"]),
        ("-3", ["-3", "it is −3"], ["3"]),
        ("1/3", ["1/3", "0.3333333333"], ["0.3"]),
        ("66.67", ["66.666666"], ["66.6"]),
        ("7" * 5000, ["7" * 5000, f"#### {'7' * 5000}"], ["7" * 4999, "7" * 5001, f"{'7' * 4999}8"]),
        ("5", ["٥"], ["²", "NaN", "inf", "1e400", "5/0"]),
    ],
    "regex=answer: (\\w+)": [
        ("answer: B", ["answer: B", "answer: A, no, answer: B."], ["answer: A", "B", "", "answer: B answer: A"]),
        ("first answer: 東京", ["answer: 東京"], ["answer: 京都"]),
    ],
    "regex=\\d+": [("x 12", ["12", "3 12"], ["12 3", "120"])],
    "json": [
        ('{"a": 1, "b": [true, null]}', ['{"b": [true, null], "a": 1.0}', '```json\n{"a": 1, "b": [true, null]}\n```'], ["", "a: 1", "{'a': 1}"]),
        ('"a text"', ['"a text"', ' "a text" '], ['"A text"', "a text", "1"]),
        ("[1, 2]", ["[1,2]", "[1.0, 2e0]"], ["[2, 1]", "[1, 2, 3]", "[true, 2]"]),
        ("9" * 5000, ["9" * 5000], ["9" * 4999]),
        ("1e400", ["1e400", "1E+400", "10e399"], ["1e401", "Infinity"]),
        ("0.1", ["0.10", "1e-1"], ["0.1000000000000000055"]),
    ],
}  # fmt: skip
CASES = [(name, *case) for name, cases in RIGHT.items() for case in cases]


@pytest.mark.parametrize(("name", "response", "right", "wrong"), CASES, ids=[f"{case[0]}: {case[1]:.12}" for case in CASES])
def test_what_is_right_and_what_is_wrong(name, response, right, wrong, scored):
    assert {completion[:80]: scored(name, response, completion) for completion in right} == {c[:80]: 1.0 for c in right}
    assert {completion[:80]: scored(name, response, completion) for completion in wrong} == {c[:80]: 0.0 for c in wrong}


HOSTILE = {
    "nothing": "",
    "spaces": " \n\t\u200b\ufeff",
    "very long": "word " * 50_000,
    "one long word": "x" * 200_000,
    "digits": "9" * 50_000,
    "signs": "-/.,$%" * 20_000,
    "open brackets": "[" * 100_000,
    "open objects": '{"a":' * 50_000,
    "nested": "[" * 20_000 + "]" * 20_000,
    "a fence in a fence": "```json\n```python\n" * 1000,
    "half characters": "\ud83d",
    "emoji": "👩‍👩‍👧‍👦" * 1000,
    "right to left": "\u202eabc",
    "NUL": "\0" * 100,
    "NaN": "NaN",
    "a JSON of NaN": '{"a": NaN, "b": Infinity}',
    "escapes": "\x1b[2J\\boxed{" * 1000,
    "boxes": r"\boxed{" * 20_000,
    "answers": "The answer is: " * 20_000,
    "hashes": "#### " * 20_000,
}
RESPONSES = {
    "exact": "Paris",
    "contains": "Paris",
    "choice": "yes",
    "number": "#### 18",
    "regex=answer: (\\w+)": "answer: B",
    "json": '{"a": 1}',
    "f1": "cats sat",
    "rouge": "cats sat",
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_completion_stops_the_scoring(name, hostile, scored):
    if name in ("f1", "rouge") and not importlib.util.find_spec("rouge_score"):
        pytest.skip("rouge-score is not installed (make install-eval)")
    assert scored(name, RESPONSES[name], HOSTILE[hostile], others=["no"] if name == "choice" else ()) == 0


def test_every_scorer_is_tested_here_or_beside():
    beside = {"code", "judge", "math", "loss", "bleu", "distance"}
    assert {name.partition("=")[0] for name in RESPONSES} | beside == {*names()}


def test_a_choice_is_the_first_option_that_is_named(scored):
    options = ["yes", "no", "not sure", "C++", "C"]
    for completion, chosen in (
        ("Yes.", "yes"), ("I say no, not yes", "no"), ("Not sure, no", "not sure"), ("nobody: yes", "yes"), ("C++", "C++"), ("C, or C++", "C"),
    ):  # fmt: skip
        verdicts = {option: scored("choice", option, completion, options) for option in options}
        assert verdicts == {option: float(option == chosen) for option in options}, completion
    assert scored("choice", "yes", "yesterday", options) == 0


@pytest.mark.parametrize("answers", [["yes"] * 9, [str(i) for i in range(101)]])
def test_a_choice_among_one_or_among_all_is_none(answers):
    with pytest.raises(UserError, match=r"the data have (1|101) different responses, and a choice is between 2 to 100"):
        scorer_of("choice", {}).check(answers)


def test_json_gives_each_key_its_share(scored):
    gold = '{"name": "Ada", "born": 1815, "tags": ["a", "b"], "alive": false}'
    assert scored("json", gold, '{"name": "Ada", "born": 1815.0, "tags": ["b", "a"], "alive": 0}') == 0.5
    assert scored("json", gold, '{"name": "Ada", "born": 1815, "tags": ["a", "b"], "alive": false, "more": 1}') == 0.8
    assert scored("json", gold, '{"name": "Ada", "name": "Bob"}') == 0  # which of them counts is nowhere said
    verdicts = scorer_of("json", {}).score_all
    example = Example("a", "", answer=gold)
    assert verdicts([example] * 3, ["{}", "[]", "{"]) == [
        {"score": 0.0, "valid": 1.0, "equal": 0.0},
        {"score": 0.0, "valid": 1.0, "equal": 0.0},
        {"score": 0.0, "valid": 0.0, "equal": 0.0},
    ]


def test_json_that_is_nested_deep_is_compared_or_wrong_but_never_an_error(scored):
    for depth in (100, 5000):
        text = "[" * depth + "]" * depth
        assert scored("json", text, text) == float(depth == 100)


def test_a_regular_expression_must_be_one_and_be_found(scored):
    for pattern in ("(", "[a", "*a", "(?P<a"):
        with pytest.raises(UserError, match=r"task.scorer=regex=.* is no regular expression"):
            scorer_of(f"regex={pattern}", {})
    with pytest.raises(UserError, match="regex=Z is found in none of the responses, such as 'abc'"):
        scored("regex=Z", "abc", "abc")
    assert scored("regex=a=(.)", "a=1", "a=1") == 1  # what stands behind the first = is the pattern


def test_a_regular_expression_that_tries_for_ever_is_refused_or_counted(scored, monkeypatch, capsys):
    monkeypatch.setattr(regex, "SECONDS", 0.2)
    with pytest.raises(UserError, match=r"regex=\(a\|aa\)\+\$ takes longer than 0.2 s on the response 'aaaa"):
        scored("regex=(a|aa)+$", "a" * 60 + "b", "a")
    assert scored("regex=(a|aa)+$", "a", "a" * 60 + "b") == 0
    assert (
        "1 of 1 completions took it longer than 0.2 s, such as that of train/0, and count as wrong" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["f1", "rouge"])
def test_overlap_of_words(name, scored):
    pytest.importorskip("rouge_score", reason="rouge-score is not installed (make install-eval)")
    assert scored(name, "the cat sat", "The cat, sat!") == 1
    assert scored(name, "the cat sat", "a dog") == 0
    # Two of three words of the response, and two of two of the completion; in another order one of them.
    assert scored(name, "the cat sat", "the cat") == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    shared = 2 if name == "f1" else 1
    assert scored(name, "the cat sat", "cat the") == pytest.approx(2 * shared / 5)
    with pytest.raises(
        UserError, match="read the letters a … z and digits alone, and 2 of 3 responses have none, such as '東京'"
    ):
        scored(name, "東京", "東京", others=["Київ", "Paris"])


def test_without_rouge_score_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    overlap.rouge.cache_clear()
    with pytest.raises(UserError, match=r"task.scorer=f1 and rouge need rouge-score: `make install-eval`"):
        scorer_of("f1", {}).check(["a"])
    overlap.rouge.cache_clear()


def test_expressions_are_compared_by_math_verify(scored):
    pytest.importorskip("math_verify", reason="math_verify is not installed (make install-eval)")
    assert scored("math", r"so \boxed{p - q}", r"The answer is: -q+p") == 1
    assert scored("math", r"\boxed{\frac{1}{2}}", "#### 0.5") == 1
    assert scored("math", r"\boxed{\frac{1}{2}}", "#### 0.6") == 0
    assert scored("math", "5", "") == 0


def test_without_math_verify_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(second_opinion, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"task.scorer=math needs Math-Verify: `make install-eval`"):
        scorer_of("math", {}).check(["5"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7, so\n#### 7 apples, and 9", "7"),
        ("#### 7\nThe answer is: 8", "8"),
        ("The answer is: 8\n#### 7", "7"),
        (r"\boxed{1} then \boxed{2, 3}", "2"),
        ("1, 2, 3,", "3"),
        ("#### none", None),
        ("none", None),
    ],
)
def test_where_a_final_number_stands(text, number):
    assert final_text(text) == number


def test_nothing_is_generated_for_the_loss():
    scorer = scorer_of("loss", {})
    assert (scorer.generates, scorer.proves) == (False, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exat", "task.scorer=exat is none; did you mean 'exact'"),
        ("base", "task.scorer=base is none"),
        ("own", "task.scorer=own is none"),
        ("regex", "task.scorer=regex needs PATTERN: 'task.scorer=\"regex=PATTERN\"'"),
        ("regex=", "needs PATTERN"),
        ("exact=1", "exact takes nothing behind it; write task.scorer=exact"),
        ("code", r"task.scorer=code needs tests: say which column has them, task.columns.tests=COLUMN"),
        (":f", "task.scorer=:f is none"),
        ("module:", "task.scorer=module: is none"),
    ],
)
def test_a_name_that_is_none_is_one_line(name, message):
    with pytest.raises(UserError, match=message):
        scorer_of(name, {"columns": {"tests": None}})


def test_the_scorer_that_data_get_is_one_that_they_prove():
    scorer, why = suited(["1", "2.5", "3/4", "-$5"], prompted=True)
    assert (scorer.name, why) == ("number", "every response is a number")
    scorer, why = suited(["yes", "no"] * 5, prompted=True)
    assert (scorer.name, why) == ("choice", "the responses are 2 labels")
    for answers, prompted in ((["1"] * 9, False), (["yes", "no"] * 5, False), (["yes", "no"], True), (["a long text"], True)):
        assert suited(answers, prompted)[0].name == "loss"


def test_plain_texts_are_scored_by_their_likelihood_alone(custom):
    texts = [{"text": f"text {i}"} for i in range(30)]
    assert custom(texts).validation == "likelihood"
    with pytest.raises(UserError, match=r"task.scorer=exact scores answers to prompts, and plain texts have none; use loss"):
        custom(texts, "exact").train_examples()


def test_a_later_version_of_a_scorer_gives_other_cells(custom, monkeypatch):
    rows = [{"question": f"q{i}", "answer": str(i)} for i in range(30)]
    prints = {scorer: custom(rows, scorer).fingerprint() for scorer in ("number", "exact", None)}
    assert "version" not in str(prints) and versions(None) == []
    monkeypatch.setattr(FinalNumber, "version", 2)
    later = {scorer: custom(rows, scorer).fingerprint() for scorer in prints}
    assert later["number"] == f"{prints['number']} lorabench.tasks.scorers.number=2"
    assert (later["exact"] == prints["exact"], later[None] == prints[None]) == (True, False)
