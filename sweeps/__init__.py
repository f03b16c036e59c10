"""Sweepers: which cells to run, in which order. They talk to the benchmark through Hydra alone: overrides out, a float back.

Imports point down this map, never up, and within a folder never in a circle:

    errors      the exceptions that a user can mend
    numbers     how numbers are written and read
    files       files that appear whole or not at all
    space       the candidates: axes, derived keys, encodings
    language    candidates in words, and their embeddings by a frozen language model
    processes   Gaussian processes for few observations, deep kernels, expected improvement
    search      the search methods, one file each; they know nothing of Hydra
    sweepers    grid and search as Hydra sweepers: composing, launching, journal, promotion
    bench       methods replayed on measured tables: ``python -m sweeps.bench``

A method is one file (here or anywhere on the path) and one yaml in ``hydra/sweeper/`` of ``conf`` or of a ``--config-dir``.
"""
