"""Rank and world size of this process, as a launcher sets them in the environment."""

from __future__ import annotations

import os


def process_rank() -> int:
    """Return the rank of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", 0)) if "WORLD_SIZE" in os.environ else 0


def process_count() -> int:
    """Return the world size; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
