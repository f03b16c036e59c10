"""Hydra sweepers: a grid and a search over listed values. What is between Hydra and a method or a user is here, once for all.

    grid, search            the sweepers that ``hydra/sweeper=NAME`` chooses, each on
    base                    settings, axes, checks and promotion of every sweeper, which is on
    composition, rounds     overrides to configs; cells to jobs, round after round
    jobs                    what a job's end means: a score, a failure, a later try
    promotion, journal      the best of a sweep in full; what a search asked and was told
    results, progress       the file of the best; the table of a running search
    settings                what may stand under ``hydra.sweeper``

A further sweeper is a subclass of ``base.CellSweeper`` that launches its cells by ``rounds``, and a name in ``hydra_plugins``.
"""
