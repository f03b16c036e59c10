"""Train and evaluate LoRA variants, one cell of a grid at a time."""

import os

# cuBLAS repeats its bits only with a fixed workspace, and reads this when its first handle is made: here, which every entry
# point, launched job and engine imports before torch, is early enough. A value of the user's own stays.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
