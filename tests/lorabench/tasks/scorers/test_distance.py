"""task.scorer=distance=RANGE: how far a number is from the response's, in shares of the range."""

import pytest

from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers import scorer_of


def distance(completion, response, width="5"):
    return scorer_of(f"distance={width}", {}).score(Example("x", "q", answer=response), completion)


@pytest.mark.parametrize(
    ("completion", "response", "score"),
    [
        ("3.8", "3.8", 1),
        ("about 3.8", "3.8", 1),
        ("2.8", "3.8", 0.8),
        ("4.8", "3.8", 0.8),
        ("0", "5.0", 0),
        ("-7", "5.0", 0),
        ("100", "5", 0),
        ("1/2", "1", 0.9),
        ("0.0", "0.0", 1),
        ("alike", "3.8", 0),
        ("", "3.8", 0),
        ("9" * 5000, "3.8", 0),
        ("0." + "9" * 5000, "1", 1),
    ],
)
def test_golden_cases(completion, response, score):
    assert distance(completion, response) == pytest.approx(score)


def test_another_range():
    assert distance("30", "20", width="100") == pytest.approx(0.9)
    assert distance("30", "20", width="0.5") == 0


@pytest.mark.parametrize("width", ["0", "-1", "five", "nan", "inf", "1e400"])
def test_a_range_that_is_none_is_one_line(width):
    with pytest.raises(
        UserError, match=rf"^task\.scorer=distance={width}: the range of the responses must be a number above 0"
    ):
        scorer_of(f"distance={width}", {})
    with pytest.raises(UserError, match=r"^task\.scorer=distance needs RANGE: 'task\.scorer=.distance=RANGE.'$"):
        scorer_of("distance", {})


def test_responses_without_a_number_are_refused():
    scorer_of("distance=5", {}).check(["3.8", "similarity 0"])
    with pytest.raises(UserError, match=r"^task\.scorer=distance needs numbers, and the response 'high' has none$"):
        scorer_of("distance=5", {}).check(["3.8", "high"])
