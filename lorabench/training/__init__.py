"""Training, one loop for all variants: data, loss, schedule, steps, checkpoints."""
