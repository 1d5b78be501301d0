"""Batches: which examples a step takes, and their transfer to the device."""
