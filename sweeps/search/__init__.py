"""Search methods, one a file: which candidate of a space to try next, given what was measured. They know nothing of Hydra."""
