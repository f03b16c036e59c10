"""Sweepers: which cells to run, in which order. They talk to the benchmark through Hydra alone."""
