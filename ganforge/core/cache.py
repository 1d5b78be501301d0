"""Where ganforge keeps what it can make or fetch again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganforge.core.atomic_files import cannot_write, sweep
from ganforge.core.console import say


def cache_folder() -> Path:
    """The user's cache: ``$GANFORGE_CACHE``, else ``ganforge`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    It need not exist yet. Whatever lies in it may be deleted at any time.
    """
    if own := os.environ.get("GANFORGE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganforge"


def sweep_cache() -> None:
    """Remove from the cache what killed processes left half made; who only reads there would not do so otherwise."""
    cache = cache_folder()
    with suppress(OSError):  # it is not there, or may not be looked at
        for folder in (cache, *cache.iterdir()):
            if folder.is_dir():
                sweep(folder.absolute())


@contextmanager
def usable_cache() -> Iterator[Path]:
    """The user's cache; where it cannot be written, a folder that is gone afterwards."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        say(f"note: {cache} cannot be written ({error.strerror}), so nothing is kept for the next time")
        with tempfile.TemporaryDirectory(prefix="ganforge-") as folder:
            yield Path(folder)
        return
    sweep_cache()
    yield cache


def check_writable(folder: Path) -> None:
    """Create a folder if it is missing, and raise GanforgeError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error
