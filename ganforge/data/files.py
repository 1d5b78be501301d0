"""Pictures that are files: in a folder or in a zip, read one by one and never unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ganforge.contract.data import Dataset
from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular
from ganforge.data.classes import Classes, classes_from_folders, classes_from_list
from ganforge.data.decode import SUFFIXES, normalise, open_image, open_picture, picture_shape
from ganforge.data.text import printable, reason_of, short

LARGEST_FILE = 512 << 20
"""Bytes of the largest file that is taken for a picture."""

LABEL_LIST = "dataset.json"
"""The file beside the pictures that may list their labels."""

_LIST_BYTES, _LIST_BYTES_A_PICTURE = 1 << 20, 1 << 13
"""Bytes of the longest label list: parsed, it takes twenty times as many of memory."""

_LARGE_BYTES = 1 << 25
"""Files above this are held in memory one at a time, whatever the number of threads."""

_MOST_TIMES = 100
"""A large member of a zip may be so many times what it is compressed to; a picture is not."""


class ImageFiles(Dataset):
    """Pictures in files under one root, in the order of their names; see `ganforge.data.classes` for their labels.

    Unlike other data sets, these may be read by several threads at once.

    Args:
        path: The folder or the zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = printable(str(path))
        self._one_large = threading.Lock()
        self._archives: list[str] = []  # zips within, into which nobody looks
        self._runs: list[str] = []

    @property
    @abstractmethod
    def files(self) -> Mapping[str, Any]:
        """Pictures and label lists by relative name, with ``/`` between folders."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of one of `files`, as far as is said of it."""

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
            if self._archives:
                archive = short(printable(self._archives[0]))
                raise DataError(f"{self.title} holds no images, but {archive}", "unpack it, or give it alone")
            raise DataError(f"{self.title} holds no images", f"images are files named {' '.join(sorted(SUFFIXES))}")
        return names

    @property
    def note(self) -> str:
        """What a user should know of the pictures: run directories of ganforge that were left out; empty for none."""
        if not self.files or not self._runs:
            return ""
        more = f" and {len(self._runs) - 1} more" * (len(self._runs) > 1)
        return f"left out, as a run of ganforge: {short(printable(self._runs[0]))}{more}"

    @cached_property
    def _classes(self) -> Classes:
        listed = None
        if LABEL_LIST in self.files:
            where = self.describe(LABEL_LIST)
            limit = _LIST_BYTES + _LIST_BYTES_A_PICTURE * len(self.names)
            if self.size(LABEL_LIST) > limit:
                raise DataError(
                    f"{where}: {self.size(LABEL_LIST) / 1e6:.1f} MB are too much for the labels of "
                    f"{len(self.names)} images",
                    f"the limit is {limit / 1e6:.1f} MB; call it by another name if it is something else",
                )
            with self.content(LABEL_LIST) as content:
                listed = classes_from_list(content, self.names, where)
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
        where = self.describe(name)
        with self.content(name) as content:
            image = normalise(open_picture(content, where), where)
        return image if self.labels is None else (image, self.labels[index])

    def example_name(self, index: int) -> str:
        """The relative name of a picture."""
        return printable(self.names[index])

    def example_shape(self, index: int) -> tuple[int, int, int]:
        """Height, width and channels of a picture, as its header tells."""
        with self._opened(self.names[index]) as stream:
            return picture_shape(open_image(stream, self.describe(self.names[index])))

    @contextmanager
    def content(self, name: str) -> Iterator[bytes]:
        """The content of one of `files`, to be let go of at the end of the block.

        Raises:
            DataError: It cannot be read.
        """
        with self._one_large if self.size(name) > _LARGE_BYTES else nullcontext():
            with self._opened(name) as stream:
                content = stream.read()
            yield content

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if self.size(name) > LARGEST_FILE:
            raise DataError(
                f"{self.describe(name)}: {self.size(name) >> 20} MiB are too much for an image",
                f"the limit is {LARGEST_FILE >> 20} MiB",
            )
        try:
            with self.stream(name) as stream:
                yield stream
        except DataError:
            raise
        except Exception as error:  # a broken zip may raise anything
            reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
            raise DataError(f"{self.describe(name)} cannot be read: {reason}", "mend it or take it away") from error

    def describe(self, name: str) -> str:
        """What to call a file in a message."""
        return short(printable(f"{self.path}/{name}"))


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
                    info = _stat(entry)
                    if stat.S_ISDIR(info.st_mode) and _is_run(self.path / prefix / entry.name):
                        self._runs.append(prefix + entry.name)
                    elif stat.S_ISDIR(info.st_mode):
                        folders.append(f"{prefix}{entry.name}/")
                    elif _is_archive(entry.name):
                        self._archives.append(prefix + entry.name)
                    elif _is_wanted(entry.name) and stat.S_IFMT(info.st_mode) in (stat.S_IFREG, stat.S_IFLNK):
                        yield prefix + entry.name, info
            except OSError as error:
                raise DataError(f"{printable(str(error.filename))} cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int:
        """Bytes of one of `files`."""
        return self.files[name].st_size

    def stream(self, name: str) -> IO[bytes]:
        """One of `files`, opened for reading."""
        return open_regular(self.path / name)

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
            with open_regular(self.path):  # a pipe would be waited for
                return zipfile.ZipFile(self.path)
        except Exception as error:  # a broken directory may raise anything
            raise DataError(
                f"{self.title}: the zip cannot be opened: {reason_of(error)}", "make or download it again"
            ) from error

    @cached_property
    def files(self) -> Mapping[str, zipfile.ZipInfo]:
        """Members by relative name, which never is a path on this computer.

        Raises:
            DataError: Members have one name or one place, or are encrypted: a zip that is not as its author meant it.
        """
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            parts = [part for part in info.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            if info.filename.endswith("/") or not parts or any(map(_is_hidden, parts)):
                continue
            name = "/".join(parts)
            if _is_archive(name):
                self._archives.append(name)
            if not _is_wanted(parts[-1]):
                continue
            if name in members:
                raise DataError(
                    f"{self.title} holds two files {short(printable(name))}", "make the zip again from a folder"
                )
            if info.flag_bits & 1:
                raise DataError(f"{self.describe(name)} is encrypted", "make the zip without a password")
            members[name] = info
        if sum(info.compress_size for info in members.values()) > self.path.stat().st_size:
            raise DataError(f"{self.title}: its members are larger than itself", "make or download it again")
        if len({name.split("/", 1)[0] for name in members}) == 1 and all("/" in name for name in members):
            members = {name.partition("/")[2]: info for name, info in members.items()}
        return members

    def size(self, name: str) -> int:
        """Bytes of one of `files`, unpacked, as the zip says."""
        return self.files[name].file_size

    def stream(self, name: str) -> IO[bytes]:
        """One of `files`, opened for reading."""
        info = self.files[name]
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(
                f"{self.describe(name)}: is a link, and in a zip links are not followed", "zip what it means"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
            raise DataError(f"{self.describe(name)}: is not compressed by deflate", "make the zip with deflate")
        if info.file_size > max(_LARGE_BYTES, _MOST_TIMES * info.compress_size):
            raise DataError(
                f"{self.describe(name)}: {info.compress_size} bytes that unpack to {info.file_size >> 20} MiB are "
                "no picture",
                "take it away",
            )
        member: Any = self._zip.open(info)
        return BufferedReader(member, 1 << 16)  # a member by itself is slow at reading a few bytes at a time

    def cache_key(self) -> str:
        """Changes with the path, size and time of the zip."""
        info = self.path.stat()
        return f"{printable(str(self.path.resolve()))} {info.st_size} {info.st_mtime_ns}"


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    """Of the file that an entry leads to; of the entry itself if it leads nowhere, which is found out on reading it."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _is_run(folder: Path) -> bool:
    """Whether a directory is a run of ganforge, whose sample grids are no examples."""
    return re.fullmatch(r"\d{5}-.+", folder.name) is not None and (folder / "config.json").is_file()


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _is_archive(name: str) -> bool:
    return name.lower().endswith(".zip")


def _is_wanted(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES or name == LABEL_LIST
