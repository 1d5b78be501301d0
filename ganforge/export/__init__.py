"""Trained generators as files that run without ganforge; one module for each format."""
