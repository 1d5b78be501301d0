"""Run directories, checkpoints and rows of metrics."""
