"""Train and evaluate LoRA variants, one cell of a grid at a time."""
