"""Pictures that are files: in a folder or in a zip, read one by one and never unpacked."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ganforge.data.classes import Classes, classes_from_folders, classes_from_list
from ganforge.data.decode import SUFFIXES, header_shape, normalise, open_image
from ganforge.errors import DataError
from ganforge.interfaces import Dataset

LARGEST_FILE = 512 << 20
"""Bytes of the largest file that is taken for a picture."""

LABEL_LIST = "dataset.json"
"""The file beside the pictures that may list their labels."""


class ImageFiles(Dataset):
    """Pictures in files under one root, in the order of their names; see `ganforge.data.classes` for their labels.

    Unlike other data sets, these may be read by several threads at once.

    Args:
        path: The folder or the zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def files(self) -> Mapping[str, Any]:
        """Pictures and label lists by relative name, with ``/`` between folders."""

    @abstractmethod
    def stream(self, name: str) -> IO[bytes]:
        """One of `files`, opened for reading; it may raise anything."""

    @cached_property
    def names(self) -> list[str]:
        """Sorted names of the pictures.

        Raises:
            DataError: There is none.
        """
        names = sorted(name for name in self.files if PurePosixPath(name).suffix.lower() in SUFFIXES)
        if not names:
            raise DataError(f"{self.path} holds no images", f"images are files named {' '.join(sorted(SUFFIXES))}")
        return names

    @cached_property
    def _classes(self) -> Classes:
        listed = None
        if LABEL_LIST in self.files:
            listed = classes_from_list(self.read(LABEL_LIST), self.names, self.describe(LABEL_LIST))
        return listed or classes_from_folders(self.names)

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes; empty for unlabelled pictures."""
        return tuple(map(printable, self._classes[0]))

    @property
    def labels(self) -> list[int] | None:
        """The label of each picture; None for unlabelled pictures."""
        return self._classes[1]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        name = self.names[index]
        image = normalise(open_image(BytesIO(self.read(name)), self.describe(name)), self.describe(name))
        return image if self.labels is None else (image, self.labels[index])

    def shape(self, index: int) -> tuple[int, int, int]:
        """Height, width and channels of a picture, as its header tells."""
        with self._opened(self.names[index]) as stream:
            return header_shape(open_image(stream, self.describe(self.names[index])))

    def read(self, name: str) -> bytes:
        """The content of one of `files`.

        Raises:
            DataError: It cannot be read.
        """
        with self._opened(name) as stream:
            return stream.read()

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self.stream(name) as stream:
                yield stream
        except DataError:
            raise
        except Exception as error:  # a broken zip may raise anything
            raise DataError(f"{self.describe(name)} cannot be read: {error}", "mend it or take it away") from error

    def describe(self, name: str) -> str:
        """What to call a file in a message."""
        return printable(f"{self.path}/{name}")

    def _check_size(self, name: str, size: int) -> None:
        if size > LARGEST_FILE:
            raise DataError(
                f"{self.describe(name)}: {size >> 20} MiB are too much for an image",
                f"the limit is {LARGEST_FILE >> 20} MiB",
            )


class FolderImages(ImageFiles):
    """All pictures in a folder and in the folders within it."""

    @cached_property
    def files(self) -> Mapping[str, os.stat_result]:
        """Size and time of each file by relative name."""
        return dict(self._walk())

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        folders, visited = [""], set()
        while folders:
            prefix = folders.pop()
            try:
                here = os.stat(self.path / prefix)
                if (here.st_dev, here.st_ino) in visited:  # a link that leads back
                    continue
                visited.add((here.st_dev, here.st_ino))
                for entry in sorted(os.scandir(self.path / prefix), key=lambda entry: entry.name):
                    if _is_hidden(entry.name):
                        continue
                    if entry.is_dir():
                        folders.append(f"{prefix}{entry.name}/")
                    elif _is_wanted(entry.name) and stat.S_ISREG((info := entry.stat()).st_mode):
                        self._check_size(prefix + entry.name, info.st_size)
                        yield prefix + entry.name, info
            except OSError as error:
                raise DataError(f"{printable(str(error.filename))} cannot be read: {error.strerror}") from error

    def stream(self, name: str) -> IO[bytes]:
        """One of `files`, opened for reading."""
        return (self.path / name).open("rb")

    def cache_key(self) -> str:
        """Changes with the path, and with the name, size or time of any file."""
        digest = hashlib.sha256(os.fsencode(self.path.resolve()))
        for name, info in sorted(self.files.items()):
            digest.update(os.fsencode(f"\0{name}\0{info.st_size}\0{info.st_mtime_ns}"))
        return digest.hexdigest()


class ZipImages(ImageFiles):
    """All pictures in a zip; a single folder around everything is passed over."""

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:  # a broken directory may raise anything
            raise DataError(f"{self.path}: the zip cannot be opened: {error}", "make or download it again") from error

    @cached_property
    def files(self) -> Mapping[str, zipfile.ZipInfo]:
        """Members by relative name, which never is a path on this computer."""
        members = {}
        for info in self._zip.infolist():
            parts = [part for part in info.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            if not info.is_dir() and parts and not any(map(_is_hidden, parts)) and _is_wanted(parts[-1]):
                members["/".join(parts)] = info
        if len({name.split("/")[0] for name in members}) == 1 and all("/" in name for name in members):
            members = {name.partition("/")[2]: info for name, info in members.items()}
        for name, info in members.items():
            if info.flag_bits & 1:
                raise DataError(f"{self.describe(name)} is encrypted", "make the zip without a password")
            self._check_size(name, info.file_size)
        return members

    def stream(self, name: str) -> IO[bytes]:
        """One of `files`, opened for reading."""
        member: Any = self._zip.open(self.files[name])
        return BufferedReader(member, 1 << 16)  # a member by itself is slow at reading a few bytes at a time

    def cache_key(self) -> str:
        """Changes with the path, size and time of the zip."""
        info = self.path.stat()
        return f"{printable(str(self.path.resolve()))} {info.st_size} {info.st_mtime_ns}"


def printable(name: str) -> str:
    """A name without line breaks, escape codes and bytes that are no text."""
    return name if name.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in name)


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _is_wanted(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES or name == LABEL_LIST
