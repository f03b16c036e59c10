"""Cells with a limit of time (``cell_timeout``): trained in a process of their own, which can be ended whatever it hangs in."""
