"""The console script ``lorabench``: its commands and their screens, completion in the shell, ``doctor`` and ``push``."""
