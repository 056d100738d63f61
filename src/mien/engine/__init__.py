"""Training: one loop, its optimiser, its checkpoints, more than one process."""
