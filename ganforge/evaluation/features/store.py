"""Feature cache on disk, written in parts so that an interrupted extraction loses little."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import ACCESS_COPY, MADV_DONTNEED, mmap
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import torch
from torch import Tensor

from ganforge.core.atomic_files import read_text, write_bytes, write_error
from ganforge.core.json_schema import decode

PART = 1024
"""Images per part, the maximum loss of an interruption."""

FORMAT = 1
"""Version of the folder layout; part of the folder's name."""

MAX_BYTES = 12 << 30
"""Maximum size of the cache; the least recently used features are removed."""


class _Manifest(TypedDict):
    widths: dict[Literal["features", "logits"], Annotated[int, msgspec.Meta(gt=0, lt=1 << 31)]]
    parts: list[Any]


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features float32 ``[N, D]``, and logits float32 ``[N, K]`` or None, of an image set, in memory-mapped files."""

    features: Tensor
    logits: Tensor | None = None
    maps: tuple[mmap, ...] = ()

    def __len__(self) -> int:
        return len(self.features)

    def release(self) -> None:
        """Release memory of pages that were read; they are read again on access."""
        for each in self.maps:
            each.madvise(MADV_DONTNEED)


class FeatureFolder:
    """Folder with the features of one image set, named by all that determines them.

    A part exists once its digest is in the manifest.
    """

    def __init__(self, cache: Path, identity: Mapping[str, Any]) -> None:
        text = json.dumps({**identity, "format": FORMAT}, sort_keys=True)
        self.path = cache / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._identity = dict(identity)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the exclusive lock of the folder; other processes wait."""
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = (self.path / "lock").open("w")
            except FileNotFoundError:  # another process removed the folder
                continue
            except OSError as error:
                raise write_error(self.path, error) from error
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.fstat(lock.fileno()).st_nlink:  # else another process removed the folder
                    yield
                    return

    def check(self) -> int:
        """Return the number of valid parts; parts after a damaged one are dropped."""
        manifest = self._read()
        digests, widths = manifest["parts"], manifest["widths"]
        good = 0
        while good < len(digests) and digests[good] == self._digest(good, widths):
            good += 1
        if good < len(digests):
            self._write(digests[:good], widths)
        return good

    def append(self, features: Tensor, logits: Tensor | None) -> None:
        """Append a part of `PART` rows, float32 ``[n, D]`` and ``[n, K]``; the last part may have fewer rows."""
        digests = self._read()["parts"]
        columns = {"features": features} if logits is None else {"features": features, "logits": logits}
        widths = {name: each.shape[1] for name, each in columns.items()}
        digest = hashlib.sha256()
        for name, each in columns.items():
            content = each.contiguous().numpy().astype("<f4").tobytes()
            digest.update(content)
            try:
                with (self.path / name).open("r+b" if (self.path / name).exists() else "wb") as file:
                    file.seek(len(digests) * PART * widths[name] * 4)
                    file.write(content)
                    file.truncate()
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise write_error(self.path / name, error) from error
        self._write([*digests, digest.hexdigest()], widths)

    def open(self, count: int) -> FeatureSet:
        """Map the features of all `count` images, and mark the folder as used."""
        widths = self._read()["widths"]
        os.utime(self.path / "manifest.json")
        maps, tensors = [], {}
        for name, width in widths.items():
            with (self.path / name).open("rb") as file:
                # Copy on write, since torch warns about memory that it could not write to.
                maps.append(mmap(file.fileno(), count * width * 4, access=ACCESS_COPY))
            tensors[name] = torch.frombuffer(maps[-1], dtype=torch.float32).view(count, width)
        return FeatureSet(tensors["features"], tensors.get("logits"), tuple(maps))

    def _digest(self, index: int, widths: Mapping[str, int]) -> str:
        digest = hashlib.sha256()
        for name, width in widths.items():
            with (self.path / name).open("rb") as file:
                file.seek(index * PART * width * 4)
                digest.update(file.read(PART * width * 4))
        return digest.hexdigest()

    def _read(self) -> dict[str, Any]:
        """Return the manifest; an empty one if it is missing or invalid."""
        try:
            manifest = decode(read_text(self.path / "manifest.json"), _Manifest)
            is_whole = "features" in manifest["widths"]
            is_whole &= all((self.path / name).is_file() for name in manifest["widths"])
        except (OSError, ValueError):
            is_whole = False
        return dict(manifest) if is_whole else {"widths": {}, "parts": []}

    def _write(self, digests: list[str], widths: Mapping[str, int]) -> None:
        manifest = {"identity": self._identity, "widths": dict(widths), "parts": digests}
        write_bytes(self.path / "manifest.json", json.dumps(manifest, indent=1).encode())


def trim(cache: Path, most: int = MAX_BYTES) -> None:
    """Remove the least recently used folders until all take at most `most` bytes; keep the newest and locked ones."""
    used = {folder: _last_use(folder) for folder in cache.glob("*/")}
    folders = sorted((folder for folder in used if used[folder]), key=used.__getitem__, reverse=True)
    total = 0
    for index, folder in enumerate(folders):
        for name in ("features", "logits"):
            with suppress(OSError):
                total += (folder / name).stat().st_size
        if total > most and index:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder unless a process has locked it."""
    with suppress(OSError), (folder / "lock").open("r") as lock:  # another process may be faster
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)


def _last_use(folder: Path) -> float:
    """Return the time of the last use in seconds; 0 without a manifest."""
    try:
        return (folder / "manifest.json").stat().st_mtime
    except OSError:
        return 0.0
