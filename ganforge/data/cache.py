"""Where ganforge keeps what it can make or fetch again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ganforge.files import sweep


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
