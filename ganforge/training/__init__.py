"""Training: batches, the state of a run, the steps of both players, the loop, and what is kept of it."""
