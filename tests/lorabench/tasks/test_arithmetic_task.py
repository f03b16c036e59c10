from lorabench.tasks.arithmetic import Arithmetic, stories


def numbers(example):
    return tuple(int(word.rstrip(".")) for word in example.question.split() if word.rstrip(".").isdigit())


def test_arithmetic_splits_share_no_sum_and_gold_answers_score(arithmetic):
    train, test = arithmetic.train_examples(), arithmetic.all_test_examples()
    validation = stories(arithmetic.version)["validation"]
    chains = [{example.target for example in split} for split in (train, validation, test)]
    assert not (chains[0] & chains[1] or chains[0] & chains[2] or chains[1] & chains[2])
    assert [len(split) for split in (train, validation, test)] == [20_000, 1_000, 1_000]
    for example in test[:50]:
        assert arithmetic.score(example, example.target) == 1
        assert arithmetic.score(example, example.target + "1") == 0
        assert arithmetic.score(example, "") == 0
        first = int(example.target.split("+")[0].split("-")[0])
        assert numbers(example)[0] == first


class Next(Arithmetic):
    version = Arithmetic.version + 1


def test_arithmetic_fingerprint_follows_the_version(arithmetic):
    settings = {"name": "arithmetic", "max_new_tokens": 40, "validation_samples": 20}
    assert Next(**settings).fingerprint() != arithmetic.fingerprint()
    assert Arithmetic(**settings).fingerprint() == arithmetic.fingerprint()
