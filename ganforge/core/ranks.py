"""Rank and world size of this process, as a launcher sets them in the environment."""

from __future__ import annotations

import os


def process_rank() -> int:
    """The number of this process among those that a launcher started together; the first speaks for all."""
    return int(os.environ.get("RANK", 0)) if "WORLD_SIZE" in os.environ else 0


def process_count() -> int:
    """How many processes a launcher started together; 1 if none did."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
