"""Where generated code runs: worker processes that the rest of the machine is walled off from.

``pool.run`` sends jobs to long-lived workers (``worker.py``). ``launch.py`` starts them, inside bubblewrap where it works; they
put themselves under the kernel's limits (``kernel.py``, ``seccomp.py``) in any case. ``asserts.py``
runs plain asserts, and ``jobs.py`` makes jobs of EvalPlus's problems and keeps the ground truth of their tests.
"""
