"""Training: the loop, its learning rates, and the checkpoints it continues from."""
