"""PSCP, a score that is lowered by what it costs (Belanec et al. 2025, PEFT-Bench, arXiv 2511.21285, eq. 3)."""

PARAMETERS, TFLOPS, GIGABYTES = 5e8, 10.0, 94.0
"""Cp, Cf, Cm, their section 4: a model's worth of parameters, a slow-down that would be felt, an H100 NVL's memory."""

IMPORTANCE = 1.0
"""β of all three penalties, section 4."""


def pscp(score: float, parameters: float, extra_tflops: float, memory: float) -> float:
    """P · (1 + Mp/Cp)^−β · (1 + Mf/Cf)^−β · (1 + Mm/Cm)^−β, in the unit of the score; NaN where a part is not known.

    LoRA on Llama-3-8B-Instruct, their table 3, with the memory that its penalty of 0.77 stands for:

    >>> round(pscp(80.1, parameters=14_680_064, extra_tflops=0.0, memory=94e9 * (1 / 0.77 - 1)), 1)
    59.9

    Args:
        score: P, of which more is better.
        parameters: Mp, trained values.
        extra_tflops: Mf, what inference takes above the base's, 10¹² operations.
        memory: bytes at training's peak; Mm is in 10⁹ of them.
    """
    costs = ((parameters, PARAMETERS), (extra_tflops, TFLOPS), (memory / 1e9, GIGABYTES))
    for cost, reference in costs:
        score *= (1 + cost / reference) ** -IMPORTANCE
    return score
