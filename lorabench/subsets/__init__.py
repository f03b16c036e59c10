"""Which data a cell, and which part of them a proxy (``train_fraction`` below 1), learns from; one file and one yaml each."""
