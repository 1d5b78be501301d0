"""Metrics: one module for each."""
