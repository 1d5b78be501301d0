"""Index of the samples of a WebDataset tar file, without unpacking."""

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
"""Default extensions of images."""

CLASS = "cls"
"""Default extension of classes."""

LARGEST_MEMBER = 512 << 20
"""Limit of the size of an image or a label, bytes."""

LONGEST_NAME = 200
"""Limit of the length of a class name; longer text is a caption."""

_BLOCK = 512
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a shard.

    Attributes:
        name: Name of the member.
        offset: Offset of the content in the shard, bytes.
        size: Size of the content, bytes.
        shape: Height, width and channels from the header; or the error.
        label: Class number or name; None without a class.
    """

    name: str
    offset: int
    size: int
    shape: tuple[int, int, int] | DataError
    label: int | str | None


def read_samples(path: Path, shard: str, image: str, label: str) -> list[Sample]:
    """List the samples of a shard: adjacent members whose names agree up to the first dot.

    Args:
        path: The tar file.
        shard: Name of the shard in errors.
        image: Extension of the images; empty if each sample has one image.
        label: Extension of the class, with fields for JSON, such as ``json.label``; empty for ``cls``, if any.

    Raises:
        DataError: The shard is not an intact tar, or a sample lacks the image or the label.
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
        raise DataError(f"{shard} cannot be read: {error.strerror or error}", "check data.shards") from error
    except tarfile.TarError as error:
        raise _damaged(shard, " ".join(str(error).split()) or type(error).__name__) from error
    if closing != bytes(_BLOCK):
        raise _damaged(shard, "it is truncated")
    return samples


def _opened(stream: IO[bytes], shard: str) -> tarfile.TarFile:
    if stream.read(2) == b"\x1f\x8b":
        raise DataError(f"{shard} is compressed by gzip", "decompress it by gunzip")
    stream.seek(0)
    return tarfile.open(fileobj=stream, mode="r:")


def _damaged(shard: str, reason: str) -> DataError:
    return DataError(f"{shard} is not an intact tar file: {reason}", "create or download it again")


def _members(archive: tarfile.TarFile, num_bytes: int, shard: str) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yield key, extension and member of each file."""
    for info in archive:
        found = _NAME.fullmatch(info.name.removeprefix("./"))
        if not found or not info.isreg() or info.issparse():
            continue
        if info.offset_data + info.size > num_bytes:
            raise _damaged(shard, f"{info.name} is truncated")
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
        shape = DataError(error.message, error.hint)  # without the traceback, which keeps the content in memory
    extension, *keys = (label or CLASS).split(".")
    found = None
    if extension in fields:
        found = _read_label(_content(archive, fields[extension], where), keys, f"{where}.{extension}")
    elif label:
        raise DataError(f"{where} has no {extension}, but {', '.join(fields)}", "check data.label")
    return Sample(chosen.name, chosen.offset_data, chosen.size, shape, found)


def _picture_of(fields: Mapping[str, tarfile.TarInfo], where: str, image: str) -> str:
    chosen = [each for each in fields if (each == image if image else each.rpartition(".")[2] in PICTURES)]
    if not chosen:
        raise DataError(f"{where} holds no {image or 'image'}, but {', '.join(fields)}", "check data.image")
    if len(chosen) > 1:
        raise DataError(f"{where} holds the images {', '.join(chosen)}", f"--set data.image={chosen[0]}")
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
    """Return the class number or name of a member, or of a JSON field in it."""
    hint = "a class is a number from 0, or a name"
    try:
        text = content.decode().strip()
        value = json.loads(text) if keys else text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid {'JSON' if keys else 'text'}", hint) from error
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise DataError(f"{where} has no field '{key}'", "check data.label")
        value = value[key]
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        return int(value)
    is_number = type(value) is int and value >= 0
    if not is_number and not (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME):
        raise DataError(f"{where} holds no class", hint)
    return value
