"""Which shards are meant, and each of them as a file on this machine."""

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
"""Of streamed shards that lie on this machine at a time: who packs on several threads is in more than one."""

_WAITS = (1.0, 5.0, 20.0)
"""Seconds before a transfer that broke off is tried once more."""


def expand(shards: str) -> list[str]:
    """The shards that a text names, in order.

    Args:
        shards: A path or address of a tar file, with braces for several, such as ``train-{0000..0146}.tar``; or a
            folder of tar files.

    Raises:
        OptionError: It names none.
        DataError: There is none in the folder.
    """
    if not shards:
        raise OptionError("dataset 'webdataset': no shards are given", "--set data.shards='train-{0000..0146}.tar'")
    try:
        places = list(braceexpand(shards))
    except ValueError:
        raise OptionError(
            f"data.shards={shards}: a brace has no partner", "write several shards as {0000..0146}"
        ) from None
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
    """Whether a shard lies behind an address, not in a file."""
    return "://" in place


def title(place: str) -> str:
    """A shard's name for messages and keys: without what follows a question mark, which may be a secret."""
    return place.partition("?")[0] if is_remote(place) else place


class LocalFiles:
    """Shards as files: local ones where they lie, others fetched when they are asked for, the last few of them kept.

    Args:
        places: Of the shards.
        keep: Fetch into the cache and leave them there.
        version: Another does not take what was kept before.
    """

    def __init__(self, places: Sequence[str], keep: bool, version: str) -> None:
        self._places = places
        self._keep = keep
        self._version = version
        self._copies: OrderedDict[int, Path] = OrderedDict()
        self._passing: Path | None = None

    def path(self, number: int) -> Path:
        """A shard as a file, which may be gone after others have been asked for.

        Raises:
            DataError: It is not there, or cannot be fetched.
        """
        place = self._places[number]
        if not is_remote(place):
            return Path(place)
        if number not in self._copies or not self._copies[number].exists():
            self._copies[number] = self._fetch(place)
            while len(self._copies) > _MOST_COPIES:
                _, oldest = self._copies.popitem(last=False)
                if not self._keep:
                    oldest.unlink(missing_ok=True)
        self._copies.move_to_end(number)
        return self._copies[number]

    def _fetch(self, place: str) -> Path:
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
        """Where copies are put: in the cache, or in a folder that goes with this object."""
        if self._passing is None:
            cache = cache_folder() / "downloads" / "webdataset"
            try:
                cache.mkdir(parents=True, exist_ok=True)
                self._passing = cache if self._keep else Path(tempfile.mkdtemp(prefix="passing-", dir=cache))
            except OSError as error:
                raise DataError(
                    f"{cache} cannot be written: {error.strerror}", "name another cache by GANFORGE_CACHE"
                ) from error
            if not self._keep:
                weakref.finalize(self, shutil.rmtree, self._passing, ignore_errors=True)
        return self._passing


def _download(place: str, path: Path) -> None:
    for wait in (*_WAITS, None):
        try:
            system, name = fsspec.url_to_fs(place, **_patience(place))
            system.get_file(name, str(path))
        except FileNotFoundError:
            raise DataError(f"{title(place)}: there is no such shard", "look at data.shards") from None
        except ImportError as error:
            raise DataError(f"{title(place)} cannot be fetched: {error}", "install what it names") from error
        except Exception as error:  # whatever networks and stores raise
            if wait is None or isinstance(error, ValueError):  # an address that nobody understands
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"{title(place)} cannot be fetched: {reason.replace(place, title(place))}",
                    "try again; with --set data.keep=true no shard is fetched twice",
                ) from error
            time.sleep(wait)
        else:
            return


def _patience(place: str) -> dict[str, Any]:
    """A transfer may last, as long as something arrives; by default five minutes are all it gets."""
    if not place.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=30, sock_read=60)}}
