from lorabench.tiny.text import Chain


def test_chain():
    chain = Chain(23, (14, -9))
    assert chain.expression() == "23+14-9"
    assert chain.worked_answer() == "23+14=37. 37-9=28. The answer is 28"
    assert chain.total == 28
