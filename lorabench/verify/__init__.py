"""Finished cells trained again, to see whether the same bits come out."""
