"""Shell completion of parts, runs and data.

Importing plugins takes seconds, so the names of their parts are cached with the versions of installed plugins.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypedDict

DATA_SUFFIXES = (".zip", ".npy")


def complete_part(kind: str) -> Callable[[str], list[tuple[str, str]]]:
    """Return the completion of names of a kind of part, each with its summary."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in read_names().get(kind, {}).items() if name.startswith(incomplete)]

    return complete


def complete_run(incomplete: str) -> list[str]:
    """Complete names of runs under ``runs/``, newest first, and of shipped generators."""
    from ganforge.runs.shipped import shipped_names

    found = sorted((each.name for each in Path("runs").glob("*/") if (each / "config.json").is_file()), reverse=True)
    return [name for name in (*found, *shipped_names()) if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[tuple[str, str]]:
    """Complete names of data sets, and paths of folders and data files."""
    folder, _, start = incomplete.rpartition("/")
    try:
        entries = sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).iterdir())
    except OSError:
        entries = []
    paths = [
        (f"{folder}/{each.name}" if folder or incomplete.startswith("/") else each.name, "")
        for each in entries
        if each.name.startswith(start) and (each.is_dir() or each.suffix in DATA_SUFFIXES)
    ]
    return complete_part("dataset")(incomplete) + [each for each in paths if not Path(each[0]).name.startswith(".")]


class _Cached(TypedDict):
    installed: list[list[str]]
    names: dict[str, dict[str, str]]


def read_names() -> dict[str, dict[str, str]]:
    """Return the names of all installed parts by kind, with their summaries."""
    from ganforge.contract.errors import GanforgeError
    from ganforge.core.atomic_files import read_text, write_bytes
    from ganforge.core.cache import cache_folder
    from ganforge.core.json_schema import decode
    from ganforge.plugins.kinds import KINDS
    from ganforge.plugins.loading import load_plugins
    from ganforge.plugins.registry import Registry

    points: Any = entry_points(group="ganforge")
    installed = sorted([each.name, each.value, each.dist.version if each.dist else ""] for each in points)
    path = cache_folder() / "names.json"
    try:
        cached = decode(read_text(path), _Cached)
        if cached["installed"] == installed and cached["names"].keys() == KINDS.keys():
            return cached["names"]
    except (OSError, ValueError):
        pass  # missing, or written by another version
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for part in Registry(load_plugins()).parts():
        found[part.kind][part.name] = part.summary
    with suppress(GanforgeError):  # the cache cannot be written
        write_bytes(path, json.dumps({"installed": installed, "names": found}).encode())
    return found
