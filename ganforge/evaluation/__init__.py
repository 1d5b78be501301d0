"""Evaluation: metrics of generated examples, with their provenance."""
