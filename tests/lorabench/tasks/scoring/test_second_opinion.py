import pytest

from lorabench.tasks.scoring import second_opinion


def test_an_expression_that_never_ends_does_not_stop_the_scoring():
    pytest.importorskip("math_verify", reason="math_verify is not installed (make install-eval)")
    helper = second_opinion.Helper(seconds=0.5)
    first = helper._process.pid
    assert not helper.equal("1", "9^{9^{9^9}}")
    assert helper._process.pid != first  # it was given up, before its own limit of seconds
    helper.seconds = 120
    assert helper.equal("1", "1")
    helper.close()


def test_without_math_verify_there_is_no_second_opinion(monkeypatch):
    monkeypatch.setattr(second_opinion, "find_spec", lambda name: None)
    assert second_opinion.opinions_on([("1", "1")]) is None
