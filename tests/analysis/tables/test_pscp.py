"""PSCP against PEFT-Bench's own table 3, whose memory is known to two digits."""

import pytest

from analysis.tables._pscp import pscp

TABLE_3 = {  # method: average score, trained parameters (table 1), penalties of parameters, FLOPs, memory, PSCP
    "IA3": (74.7, 196_608, 1.0, 0.97, 0.77, 55.62),
    "Prompt Tuning": (50.0, 409_600, 1.0, 0.86, 0.69, 29.49),
    "Prefix Tuning": (45.9, 34_177_536, 0.94, 1.0, 0.77, 33.18),
    "P-Tuning": (51.7, 53_130_752, 0.9, 0.86, 0.73, 29.26),
    "LoRA": (80.1, 14_680_064, 0.97, 1.0, 0.77, 60.08),
    "LNTuning": (77.8, 266_240, 1.0, 1.0, 0.77, 60.19),
}


@pytest.mark.parametrize("method", TABLE_3)
def test_the_published_scores_come_out(method):
    score, parameters, of_parameters, of_flops, of_memory, published = TABLE_3[method]
    assert pscp(1.0, parameters, 0.0, 0.0) == pytest.approx(of_parameters, abs=0.0051)
    tflops, memory = 10 * (1 / of_flops - 1), 94e9 * (1 / of_memory - 1)
    assert pscp(score, parameters, tflops, memory) == pytest.approx(published, rel=0.005 / of_flops + 0.005 / of_memory)


def test_a_cost_of_the_reference_halves_the_score():
    costs = {"parameters": 0.0, "extra_tflops": 0.0, "memory": 0.0}
    assert pscp(0.8, **costs) == 0.8
    for name, reference in (("parameters", 5e8), ("extra_tflops", 10.0), ("memory", 94e9)):
        assert pscp(0.8, **costs | {name: reference}) == pytest.approx(0.4)
