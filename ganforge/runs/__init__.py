"""Runs on disk: the run directory, checkpoints and rows of metrics."""
