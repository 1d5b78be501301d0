"""Expansion of shard patterns, and download of remote shards."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
from braceexpand import braceexpand
from ganforge import DataError, OptionError, cache_folder

_MOST_COPIES = 4
"""Number of streamed shards on disk at a time; packing threads may read several."""

_WAITS = (1.0, 5.0, 20.0)
"""Delays before retries of a download, seconds."""


def expand(shards: str) -> list[str]:
    """Return the paths or URLs of a pattern, in order.

    Args:
        shards: Path or URL of a tar file, with braces for several, such as ``train-{0000..0146}.tar``; or a folder of
            tar files.

    Raises:
        OptionError: An empty or invalid pattern.
        DataError: The folder has no tar files.
    """
    if not shards:
        raise OptionError("dataset 'webdataset': no shards", "--set data.shards='train-{0000..0146}.tar'")
    try:
        places = list(braceexpand(shards))
    except ValueError:
        raise OptionError(f"data.shards={shards}: unbalanced brace", "write several shards as {0000..0146}") from None
    found: list[str] = []
    for place in places:
        folder = Path(place).expanduser()
        if is_remote(place) or not folder.is_dir():
            found.append(place if is_remote(place) else str(folder))
            continue
        within = sorted(str(each) for each in folder.iterdir() if each.suffix == ".tar")
        if not within:
            raise DataError(f"{place} holds no shards", "shards are files named .tar")
        found += within
    return found


def is_remote(place: str) -> bool:
    """Return whether a shard is a URL."""
    return "://" in place


def title(place: str) -> str:
    """Return the name of a shard in messages and keys: without the query of a URL, which may contain a secret."""
    return place.partition("?")[0] if is_remote(place) else place


class LocalFiles:
    """Local files of shards; remote shards are downloaded on demand, and the last few are kept.

    Args:
        places: Paths or URLs of the shards.
        keep: Whether to keep downloads in the cache.
        version: Any text; a new value ignores earlier downloads.
    """

    def __init__(self, places: Sequence[str], keep: bool, version: str) -> None:
        self._places = places
        self._keep = keep
        self._version = version
        self._copies: OrderedDict[int, Path] = OrderedDict()
        self._downloads: Path | None = None

    def path(self, number: int) -> Path:
        """Return the file of a shard; later calls may delete it.

        Raises:
            DataError: The shard does not exist, or the download fails.
        """
        place = self._places[number]
        if not is_remote(place):
            return Path(place)
        if number not in self._copies or not self._copies[number].exists():
            self._copies[number] = self._cached(place)
            while len(self._copies) > _MOST_COPIES:
                _, oldest = self._copies.popitem(last=False)
                if not self._keep:
                    oldest.unlink(missing_ok=True)
        self._copies.move_to_end(number)
        return self._copies[number]

    def _cached(self, place: str) -> Path:
        digest = hashlib.sha256(f"{title(place)} {self._version}".encode()).hexdigest()
        name = f"{digest[:16]}-{title(place).rsplit('/', 1)[-1]}"
        path = self._folder() / name
        if not path.exists():
            partial = path.with_name(f".{name}.{os.getpid()}.partial")
            try:
                _download(place, partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def _folder(self) -> Path:
        """Return the folder of downloads: the cache, or a folder that is deleted with this object."""
        if self._downloads is None:
            cache = cache_folder() / "downloads" / "webdataset"
            try:
                cache.mkdir(parents=True, exist_ok=True)
                self._downloads = cache if self._keep else Path(tempfile.mkdtemp(prefix="passing-", dir=cache))
            except OSError as error:
                raise DataError(
                    f"{cache} cannot be written: {error.strerror}", "set GANFORGE_CACHE to another folder"
                ) from error
            if not self._keep:
                weakref.finalize(self, shutil.rmtree, self._downloads, ignore_errors=True)
        return self._downloads


def _download(place: str, path: Path) -> None:
    for wait in (*_WAITS, None):
        try:
            system, name = fsspec.url_to_fs(place, **_timeouts(place))
            system.get_file(name, str(path))
        except FileNotFoundError:
            raise DataError(f"{title(place)}: shard not found", "check data.shards") from None
        except ImportError as error:
            raise DataError(f"{title(place)} cannot be downloaded: {error}", "install the missing package") from error
        except Exception as error:  # of any network library
            if wait is None or isinstance(error, ValueError):  # an invalid URL
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"{title(place)} cannot be downloaded: {reason.replace(place, title(place))}",
                    "try again; --set data.keep=true downloads each shard once",
                ) from error
            time.sleep(wait)
        else:
            return


def _timeouts(place: str) -> dict[str, Any]:
    """Return fsspec options without a total timeout, which is five minutes by default."""
    if not place.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=30, sock_read=60)}}
