"""Features on disk: written a part at a time, so that what was computed is not lost, and found by what decides them."""

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
from typing import IO, Annotated, Any, Literal, TypedDict

import msgspec
import torch
from torch import Tensor

from ganforge.core.atomic_files import read_text, write_bytes, write_error
from ganforge.core.json_schema import decode

PART = 1024
"""Images of a part, the most that is lost when an evaluation is killed."""

FORMAT = 1
"""Of the layout of a folder; part of its name, so that others are never read."""

MOST_BYTES = 12 << 30
"""What all features may take in the cache; those not used for longest make room."""


class _Manifest(TypedDict):
    widths: dict[Literal["features", "logits"], Annotated[int, msgspec.Meta(gt=0, lt=1 << 31)]]
    parts: list[Any]


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of a set of images, mapped from files: they are read where they are touched.

    Attributes:
        features: float32 ``[N, D]``.
        logits: float32 ``[N, K]`` of a classifier, else None.
        maps: Where both are read.
    """

    features: Tensor
    logits: Tensor | None = None
    maps: tuple[mmap, ...] = ()

    def __len__(self) -> int:
        return len(self.features)

    def release(self) -> None:
        """Let go of the memory that what was read takes; it is read again where it is touched."""
        for each in self.maps:
            each.madvise(MADV_DONTNEED)


class FeatureFolder:
    """Where features of one set of images lie. A part is there once the manifest has its digest.

    Args:
        cache: Folder of all such folders.
        identity: All that decides the features, as JSON; any change of it is another folder.
    """

    def __init__(self, cache: Path, identity: Mapping[str, Any]) -> None:
        text = json.dumps({**identity, "format": FORMAT}, sort_keys=True)
        self.path = cache / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._identity = dict(identity)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes there; whoever computes the same features now is waited for.

        Raises:
            GanforgeError: The folder cannot be written.
        """
        with self._lock():
            yield

    def check(self) -> int:
        """How many parts are there as they were written; what follows a damaged one is forgotten."""
        manifest = self._read()
        digests, widths = manifest["parts"], manifest["widths"]
        good = 0
        while good < len(digests) and digests[good] == self._digest(good, widths):
            good += 1
        if good < len(digests):
            self._write(digests[:good], widths)
        return good

    def append(self, features: Tensor, logits: Tensor | None) -> None:
        """Add a part of `PART` rows; the last one may have fewer.

        Args:
            features: float32 ``[n, D]``.
            logits: float32 ``[n, K]``, or None.

        Raises:
            GanforgeError: The disk is full, or cannot be written.
        """
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
        """The features of all `count` images, whose parts must be there; the folder counts as used just now."""
        widths = self._read()["widths"]
        os.utime(self.path / "manifest.json")
        maps, tensors = [], {}
        for name, width in widths.items():
            with (self.path / name).open("rb") as file:
                # Copy on write, since torch warns about memory that it could not write to.
                maps.append(mmap(file.fileno(), count * width * 4, access=ACCESS_COPY))
            tensors[name] = torch.frombuffer(maps[-1], dtype=torch.float32).view(count, width)
        return FeatureSet(tensors["features"], tensors.get("logits"), tuple(maps))

    def _lock(self) -> IO[str]:
        """The lock's file, which is locked until it is closed."""
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = (self.path / "lock").open("w")
            except FileNotFoundError:  # the folder was removed in between
                continue
            except OSError as error:
                raise write_error(self.path, error) from error
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink:
                return lock
            lock.close()  # the folder was removed by whoever held the lock

    def _digest(self, index: int, widths: Mapping[str, int]) -> str:
        digest = hashlib.sha256()
        for name, width in widths.items():
            with (self.path / name).open("rb") as file:
                file.seek(index * PART * width * 4)
                digest.update(file.read(PART * width * 4))
        return digest.hexdigest()

    def _read(self) -> dict[str, Any]:
        """The manifest; an empty one if it is absent, or is not what was written."""
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


def trim(cache: Path, most: int = MOST_BYTES) -> None:
    """Remove folders of features that were not used for longest, until all take no more than `most` bytes.

    The one that was used last stays, however large, and so does one that a process computes at the moment.
    """
    used = {folder: _last_use(folder) for folder in cache.glob("*/")}
    folders = sorted((folder for folder in used if used[folder]), key=used.__getitem__, reverse=True)
    total = 0
    for place, folder in enumerate(folders):
        total += sum(_size(each) for each in (folder / "features", folder / "logits"))
        if total > most and place:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, unless somebody is at work there."""
    with suppress(OSError), (folder / "lock").open("r") as lock:  # another process may be faster
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)


def _last_use(folder: Path) -> float:
    """When its manifest was written or looked at, in seconds; 0 if there is none."""
    try:
        return (folder / "manifest.json").stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
