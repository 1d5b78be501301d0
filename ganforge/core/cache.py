"""Cache folder of data, features and compiled networks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganforge.core.atomic_files import remove_stale_drafts, write_error
from ganforge.core.console import say


def cache_folder() -> Path:
    """Return the user's cache: ``$GANFORGE_CACHE``, else ``ganforge`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    The folder may not exist yet. Its files may be deleted at any time.
    """
    if own := os.environ.get("GANFORGE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganforge"


def clean_cache() -> None:
    """Remove drafts of killed processes from the cache."""
    cache = cache_folder()
    with suppress(OSError):  # not found, or not readable
        for folder in (cache, *cache.iterdir()):
            if folder.is_dir():
                remove_stale_drafts(folder.absolute())


@contextmanager
def open_cache() -> Iterator[Path]:
    """Yield the user's cache; if it is not writable, a temporary folder."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        say(f"note: {cache} is not writable ({error.strerror}), so nothing is cached")
        with tempfile.TemporaryDirectory(prefix="ganforge-") as folder:
            yield Path(folder)
        return
    clean_cache()
    yield cache


def check_writable(folder: Path) -> None:
    """Create a folder if it is missing, and raise GanforgeError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(folder, error) from error
