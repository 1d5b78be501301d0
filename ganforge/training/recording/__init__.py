"""Recording of a run: metrics, sample grids, checkpoints, warnings and loggers."""
