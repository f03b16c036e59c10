"""The console script ``lorabench``: its commands and their screens."""
