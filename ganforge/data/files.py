"""Image files in a folder or zip, read one by one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Any

from PIL import Image

from ganforge.contract.data import Dataset
from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular
from ganforge.data.classes import FileLabels, classes_from_folders, labels_from_list
from ganforge.data.decode import SUFFIXES, normalize, open_image, open_picture, picture_dtype, picture_shape
from ganforge.data.labels import Label
from ganforge.data.metadata import vectors_from_csv, vectors_from_parquet
from ganforge.data.text import printable, reason_of, short

LARGEST_FILE = 512 << 20  # maximum size of a picture file in bytes
LABEL_FILES = {
    "dataset.json": labels_from_list,
    "metadata.csv": vectors_from_csv,
    "metadata.parquet": vectors_from_parquet,
}
"""Optional files with the labels of the pictures, and their readers; the first has precedence."""

_LIST_BYTES, _LIST_BYTES_A_PICTURE = 1 << 20, 1 << 13
"""Limits of the label file in bytes; parsed, it takes about twenty times as much memory."""

_LARGE_BYTES = 1 << 25  # files above this size are read one at a time
_MOST_TIMES = 100  # maximum compression ratio of large members of a zip


class ImageFiles(Dataset):
    """Image files in a folder or zip, sorted by name; thread-safe. Labels as in `LABEL_FILES` or of folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = printable(str(path))
        self._one_large = threading.Lock()
        self._archives: list[str] = []  # nested zips are not read
        self._runs: list[str] = []

    @property
    @abstractmethod
    def files(self) -> Mapping[str, Any]:
        """Pictures and label files by relative name, with ``/`` between folders."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the declared size of one of `files` in bytes."""

    @abstractmethod
    def stream(self, name: str) -> IO[bytes]:
        """Open one of `files`; may raise any exception."""

    @cached_property
    def names(self) -> list[str]:
        """Sorted names of the pictures; raises `DataError` if there are none."""
        names = sorted(name for name in self.files if PurePosixPath(name).suffix.lower() in SUFFIXES)
        if not names:
            if self._archives:
                archive = short(printable(self._archives[0]))
                raise DataError(f"{self.title} holds no images, but {archive}", "unpack it, or use it as the source")
            raise DataError(f"{self.title} holds no images", f"images are files named {' '.join(sorted(SUFFIXES))}")
        return names

    @property
    def note(self) -> str:
        """Message about run directories that were skipped, and about labels; empty for none."""
        labels = self._labeled.note if any(name in LABEL_FILES for name in self.files) else ""
        more = f" and {len(self._runs) - 1} more" * (len(self._runs) > 1)
        runs = f"left out, as a run of ganforge: {short(printable(self._runs[0]))}{more}" if self._runs else ""
        return "\n".join(filter(None, (runs, labels)))

    @cached_property
    def _labeled(self) -> FileLabels:
        notes = []
        for file, read in LABEL_FILES.items():
            if file not in self.files:
                continue
            where = self.describe(file)
            limit = _LIST_BYTES + _LIST_BYTES_A_PICTURE * len(self.names)
            if self.size(file) > limit:
                raise DataError(
                    f"{where}: {self.size(file) / 1e6:.1f} MB exceed the limit of {limit / 1e6:.1f} MB for "
                    f"labels of {len(self.names)} images",
                    "rename it if it is another file",
                )
            with self.content(file) as content:
                listed = read(content, self.names, where)
            if listed is not None and (listed.labels is not None or not listed.note):
                return listed
            notes += [listed.note] if listed else []
        return classes_from_folders(self.names)._replace(note="\n".join(notes))

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Class names; empty without classes."""
        return tuple(map(printable, self._labeled.class_names))

    @property
    def number_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the numbers of condition vectors; empty without vectors."""
        return tuple(map(printable, self._labeled.number_names))

    @cached_property
    def labels(self) -> Sequence[Label] | None:
        """Class or condition vector of each picture; None for unlabeled pictures."""
        labels = self._labeled.labels
        return labels if labels is None or isinstance(labels, list) else list(labels)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        return self.picture(index) if self.labels is None else (self.picture(index), self.labels[index])

    def picture(self, index: int) -> Image.Image:
        """Return a picture without its label."""
        name = self.names[index]
        where = self.describe(name)
        with self.content(name) as content:
            return normalize(open_picture(content, where), where, deep=True)

    def example_name(self, index: int) -> str:
        return printable(self.names[index])

    def example_shape(self, index: int) -> tuple[int, int, int]:
        return self.example_format(index)[0]

    def example_format(self, index: int) -> tuple[tuple[int, int, int], str]:
        """Return height, width and channels, and the type of the values, from a header."""
        with self._opened(self.names[index]) as stream:
            image = open_image(stream, self.describe(self.names[index]))
            return picture_shape(image), picture_dtype(image)

    @contextmanager
    def content(self, name: str) -> Iterator[bytes]:
        """Read one of `files`; release it at the end of the block. Raises `DataError`."""
        with self._one_large if self.size(name) > _LARGE_BYTES else nullcontext():
            with self._opened(name) as stream:
                content = stream.read()
            yield content

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if self.size(name) > LARGEST_FILE:
            raise DataError(
                f"{self.describe(name)}: {self.size(name) >> 20} MiB exceed the limit of {LARGEST_FILE >> 20} MiB",
                "resize it, or remove it",
            )
        try:
            with self.stream(name) as stream:
                yield stream
        except DataError:
            raise
        except Exception as error:  # a corrupt zip may raise any exception
            reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
            raise DataError(f"{self.describe(name)} cannot be read: {reason}", "repair or remove it") from error

    def describe(self, name: str) -> str:
        """Return a file's name for messages."""
        return short(printable(f"{self.path}/{name}"))


class FolderImages(ImageFiles):
    """All pictures in a folder and its subfolders."""

    @cached_property
    def files(self) -> Mapping[str, os.stat_result]:
        return dict(self._walk())

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        folders, visited = [""], set()
        while folders:
            prefix = folders.pop()
            try:
                here = os.stat(self.path / prefix)
                if (here.st_dev, here.st_ino) in visited:  # a cyclic link
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
        return self.files[name].st_size

    def stream(self, name: str) -> IO[bytes]:
        return open_regular(self.path / name)

    def cache_key(self) -> str:
        digest = hashlib.sha256(os.fsencode(self.path.resolve()))
        for name, info in sorted(self.files.items()):
            digest.update(os.fsencode(f"\0{name}\0{info.st_size}\0{info.st_mtime_ns}"))
        return digest.hexdigest()


class ZipImages(ImageFiles):
    """All pictures in a zip, without a single top-level folder."""

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            with open_regular(self.path):  # opening a pipe would block
                return zipfile.ZipFile(self.path)
        except Exception as error:  # a corrupt directory may raise any exception
            raise DataError(
                f"{self.title}: the zip cannot be opened: {reason_of(error)}", "make or download it again"
            ) from error

    @cached_property
    def files(self) -> Mapping[str, zipfile.ZipInfo]:
        """Members by normalized relative name; raises `DataError` for duplicate or encrypted members."""
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
            raise DataError(f"{self.title}: its members exceed the file size", "make or download it again")
        if len({name.split("/", 1)[0] for name in members}) == 1 and all("/" in name for name in members):
            members = {name.partition("/")[2]: info for name, info in members.items()}
        return members

    def size(self, name: str) -> int:
        return self.files[name].file_size

    def stream(self, name: str) -> IO[bytes]:
        info = self.files[name]
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{self.describe(name)}: links in a zip are unsupported", "replace it by the file")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others have no size limit
            raise DataError(f"{self.describe(name)}: unsupported compression", "make the zip with deflate")
        if info.file_size > max(_LARGE_BYTES, _MOST_TIMES * info.compress_size):
            raise DataError(
                f"{self.describe(name)}: {info.compress_size} bytes unpack to {info.file_size >> 20} MiB; suspected "
                "zip bomb",
                "remove it",
            )
        member: Any = self._zip.open(info)
        return BufferedReader(member, 1 << 16)  # small reads from a member are slow

    def cache_key(self) -> str:
        info = self.path.stat()
        return f"{printable(str(self.path.resolve()))} {info.st_size} {info.st_mtime_ns}"


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of a link's target, or of a broken link itself, which fails when read."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run directory, whose sample grids are not examples."""
    return re.fullmatch(r"\d{5}-.+", folder.name) is not None and (folder / "config.json").is_file()


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _is_archive(name: str) -> bool:
    return name.lower().endswith(".zip")


def _is_wanted(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES or name in LABEL_FILES
