"""Search methods replayed on measured tables: ``python -m sweeps.bench --help``."""
