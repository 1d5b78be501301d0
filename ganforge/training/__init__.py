"""Training: batches, the state of a run, optimization steps, the training loop, and recording."""
