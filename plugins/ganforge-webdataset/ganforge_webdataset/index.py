"""What a shard holds: the samples of a tar file in WebDataset's format, found without unpacking it."""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ganforge import DataError, open_picture, picture_shape

PICTURES = ("jpg", "jpeg", "png", "webp", "avif", "bmp", "gif", "jp2", "pgm", "ppm", "tif", "tiff")
"""Extensions of members that are pictures, unless the user names one."""

CLASS = "cls"
"""Extension of a member that holds a class, by convention."""

LARGEST_MEMBER = 512 << 20
"""Bytes of the largest member that is taken for a picture or a label."""

LONGEST_NAME = 200
"""Letters of the longest name of a class; what is longer is a caption."""

_BLOCK = 512
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a shard.

    Attributes:
        name: Of its member.
        offset: Where its content begins in the shard.
        size: Bytes of it.
        shape: Height, width and channels, as its header tells; or why it cannot be told.
        label: Its class as it stands there, a number or a name; None if it has none.
    """

    name: str
    offset: int
    size: int
    shape: tuple[int, int, int] | DataError
    label: int | str | None


def read_samples(path: Path, shard: str, image: str, label: str) -> list[Sample]:
    """List the samples of a shard: neighbours whose names agree up to the first dot.

    Args:
        path: The tar file.
        shard: What to call it in an error.
        image: Extension of the pictures; empty for the one picture that each sample holds.
        label: Extension of what holds the class, followed by the names of fields if it is JSON, such as
            ``json.label``; empty for ``cls`` where there is one.

    Raises:
        DataError: The shard is no whole tar, or a sample holds no such picture or label.
    """
    try:
        with path.open("rb") as stream, _opened(stream, shard) as archive:
            groups = itertools.groupby(_members(archive, path.stat().st_size, shard), key=lambda member: member[0])
            samples = [
                _read_sample(archive, {extension: info for _, extension, info in group}, shard, key, image, label)
                for key, group in groups
            ]
            stream.seek(archive.offset)
            closing = stream.read(_BLOCK)
    except OSError as error:
        raise DataError(f"{shard} cannot be read: {error.strerror or error}", "look at data.shards") from error
    except tarfile.TarError as error:
        raise _damaged(shard, " ".join(str(error).split()) or type(error).__name__) from error
    if closing != bytes(_BLOCK):
        raise _damaged(shard, "it has no end, so it was cut off")
    return samples


def _opened(stream: IO[bytes], shard: str) -> tarfile.TarFile:
    if stream.read(2) == b"\x1f\x8b":
        raise DataError(f"{shard} is compressed by gzip", "gunzip it; pictures are compressed anyway")
    stream.seek(0)
    return tarfile.open(fileobj=stream, mode="r:")


def _damaged(shard: str, reason: str) -> DataError:
    return DataError(f"{shard} is no whole tar file: {reason}", "make or download it again")


def _members(archive: tarfile.TarFile, num_bytes: int, shard: str) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, extension and place of each file."""
    for info in archive:
        found = _NAME.fullmatch(info.name.removeprefix("./"))
        if not found or not info.isreg() or info.issparse():
            continue
        if info.offset_data + info.size > num_bytes:
            raise _damaged(shard, f"{info.name} is cut off")
        yield found[1], found[2].lower(), info


def _read_sample(
    archive: tarfile.TarFile, fields: Mapping[str, tarfile.TarInfo], shard: str, key: str, image: str, label: str
) -> Sample:
    where = f"{shard}/{key}"
    chosen = fields[_picture_of(fields, where, image)]
    content = _content(archive, chosen, where)
    shape: tuple[int, int, int] | DataError
    try:
        shape = picture_shape(open_picture(content, f"{shard}/{chosen.name}"))
    except DataError as error:
        shape = DataError(error.message, error.hint)  # without the traceback, which would hold the content
    extension, *keys = (label or CLASS).split(".")
    found = None
    if extension in fields:
        found = _read_label(_content(archive, fields[extension], where), keys, f"{where}.{extension}")
    elif label:
        raise DataError(f"{where} has no {extension}, but {', '.join(fields)}", "look at data.label")
    return Sample(chosen.name, chosen.offset_data, chosen.size, shape, found)


def _picture_of(fields: Mapping[str, tarfile.TarInfo], where: str, image: str) -> str:
    chosen = [each for each in fields if (each == image if image else each.rpartition(".")[2] in PICTURES)]
    if not chosen:
        raise DataError(f"{where} holds no {image or 'picture'}, but {', '.join(fields)}", "look at data.image")
    if len(chosen) > 1:
        raise DataError(f"{where} holds the pictures {', '.join(chosen)}", f"--set data.image={chosen[0]}")
    return chosen[0]


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> bytes:
    if info.size > LARGEST_MEMBER:
        raise DataError(
            f"{where}: {info.name} of {info.size >> 20} MiB is too large", f"the limit is {LARGEST_MEMBER >> 20} MiB"
        )
    stream = archive.extractfile(info)
    assert stream is not None  # it is a regular file
    return stream.read()


def _read_label(content: bytes, keys: list[str], where: str) -> int | str:
    """A class: the number or name that a member is, or that a field of it holds."""
    hint = "a class is a number counted from 0, or a name"
    try:
        text = content.decode().strip()
        value = json.loads(text) if keys else text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not to be read as text{' of JSON' if keys else ''}", hint) from error
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise DataError(f"{where} has no field '{key}'", "look at data.label")
        value = value[key]
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        return int(value)
    is_number = type(value) is int and value >= 0
    if not is_number and not (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME):
        raise DataError(f"{where} holds no class", hint)
    return value
