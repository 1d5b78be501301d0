"""Runs from Python: training, loading, notebooks, terminal output."""
