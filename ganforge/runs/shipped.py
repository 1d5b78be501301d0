"""Shipped generators: small trained runs that are part of the package, found by name, and never written to."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "shipped"
"""Folder of the shipped generators: a run directory each, by name."""

DEFAULT = "avatars"
"""Shipped generator that ``ganforge demo`` shows."""


def shipped_names() -> list[str]:
    """Return the names of the shipped generators."""
    return sorted(each.parent.name for each in SHIPPED.glob("*/config.json"))


def is_shipped(run: Path) -> bool:
    """Return whether a run directory is that of a shipped generator."""
    return run.resolve().parent == SHIPPED


def output_folder(run: Path, out: Path) -> Path:
    """Return the folder of what commands write about a run: the run itself, or ``OUT/NAME`` for a shipped generator.

    Args:
        run: Run directory.
        out: Directory of all runs.
    """
    return out / run.resolve().name if is_shipped(run) else run
