"""What a shell offers when a name is half typed: parts, runs, data.

Plugins take seconds to import, so the names of their parts are kept in the cache, together with what was installed.
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
    """What completes the name of a part of a kind: names that begin so, each with its summary."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in read_names().get(kind, {}).items() if name.startswith(incomplete)]

    return complete


def complete_run(incomplete: str) -> list[str]:
    """Names of runs under ``runs/`` that begin so, newest first."""
    found = sorted((each.name for each in Path("runs").glob("*/") if (each / "config.json").is_file()), reverse=True)
    return [name for name in found if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[tuple[str, str]]:
    """Data sets that begin so, and paths of what may hold examples."""
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


class _Kept(TypedDict):
    installed: list[list[str]]
    names: dict[str, dict[str, str]]


def read_names() -> dict[str, dict[str, str]]:
    """For each kind of part the names of all that is installed, with their summaries."""
    from ganforge.contract.errors import GanforgeError
    from ganforge.core.atomic_files import read_text, write_bytes
    from ganforge.core.cache import cache_folder
    from ganforge.core.json_schema import decode
    from ganforge.plugins.kinds import KINDS
    from ganforge.plugins.loading import load_plugins
    from ganforge.plugins.registry import Registry

    installed = sorted([each.name, each.value, each.dist.version if each.dist else ""] for each in _points())
    path = cache_folder() / "names.json"
    try:
        kept = decode(read_text(path), _Kept)
        if kept["installed"] == installed and kept["names"].keys() == KINDS.keys():
            return kept["names"]
    except (OSError, ValueError):
        pass  # it is not there yet, or of another version
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for part in Registry(load_plugins()).parts():
        found[part.kind][part.name] = part.summary
    with suppress(GanforgeError):  # the next time takes as long
        write_bytes(path, json.dumps({"installed": installed, "names": found}).encode())
    return found


def _points() -> Any:
    return entry_points(group="ganforge")
