"""Which part of the training data a proxy cell (``train_fraction`` below 1) learns from; one file and one yaml each."""
