"""Training: the loop, optimizers and schedules, checkpoints, and several processes."""
