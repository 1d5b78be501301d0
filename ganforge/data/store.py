"""Packed data: all examples in one array, in memory or memory-mapped from a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, Self, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular
from ganforge.core.json_schema import PositiveInt, convert, parse_json
from ganforge.data.npy import MAPPED_BYTES, RowFile, map_array
from ganforge.data.text import printable, reason_of
from ganforge.data.writing import ArrayWriter, new_folder

SOURCES = "sources"  # subfolder of a packed folder with the source images, itself a packed folder
FORMAT = "ganforge-data-1"  # name and version of the format of packed folders and of their preprocessing

_CHUNK_BYTES = 1 << 24

_MANIFEST_BYTES = 1 << 26
"""Maximum size of a manifest in bytes; it may name many skipped examples, and parsed it is far larger."""


@dataclass(frozen=True, eq=False)
class PackedData:
    """Packed examples with labels, before conversion to float.

    Attributes:
        name: Short name, e.g. ``mnist-train``.
        examples: Images, uint8 ``[N, C, H, W]`` in [0, 255] with C of 1, 3 or 4; or vectors, float32 ``[N, D]``. May be
            memory-mapped copy-on-write.
        labels: Class labels, int64 ``[N]`` in ``[0, len(class_names))``; None for unlabeled data.
        class_names: Class names in the order of the labels; empty for unlabeled data.
        fingerprint: SHA-256 of examples, labels, class names and sources.
        origin: Source, options, crop, resize filter, and skipped examples.
        note: Message for the user, e.g. why nothing was cached; usually empty.
        file: File that `gather` reads if it is large; None to read `examples`.
        sources: Source images of paired data in the same order; else None.
    """

    name: str
    examples: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    fingerprint: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    file: RowFile | None = None
    sources: PackedData | None = None

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def spec(self) -> DataSpec:
        """Shapes and classes for the networks."""
        source_shape = () if self.sources is None else self.sources.spec.shape
        return DataSpec(tuple(self.examples.shape[1:]), self.class_names, source_shape)

    @property
    def _known_sources(self) -> str | None:
        return None if self.sources is None else self.sources.fingerprint

    @property
    def left_out(self) -> Mapping[str, str]:
        """Error by name of each skipped example."""
        return dict(self.origin.get("left_out", {}))

    def gather(self, indices: Tensor, into: Tensor) -> None:
        """Copy examples without keeping pages of a large file in memory; thread-safe.

        Args:
            indices: int64 ``[n]`` in ``[0, N)``.
            into: ``[n, ...]`` of the examples' type, on the CPU.

        Raises:
            DataError: The file cannot be read.
        """
        if self.file:
            self.file.read(indices.tolist(), into.numpy())
        else:  # numpy's mode "raise" would copy once more
            np.take(self.examples.numpy(), indices.numpy(), axis=0, out=into.numpy(), mode="clip")

    def is_intact(self) -> bool:
        """Return whether the examples match the fingerprint; reads all of them."""
        if self.sources is not None and not self.sources.is_intact():
            return False
        digest = hashlib.sha256()
        for rows in _chunks(self.examples):
            digest.update(np.ascontiguousarray(rows).data)
        examples, labels = self.examples.numpy(), None if self.labels is None else self.labels.numpy()
        found = fingerprint(
            digest.hexdigest(), examples.shape, examples.dtype.name, labels, self.class_names, self._known_sources
        )
        return found == self.fingerprint

    def save(self, folder: Path) -> None:
        """Write a packed folder atomically; the folder must be new or empty."""
        with new_folder(folder) as partial:
            with ArrayWriter(self.examples.shape, self.examples.numpy().dtype, partial / "examples.npy") as writer:
                for rows in _chunks(self.examples):
                    writer.append(rows)
            if self.sources is not None:
                self.sources.save(partial / SOURCES)
            labels = None if self.labels is None else self.labels.numpy()
            write_manifest(partial, self.name, writer, labels, self.class_names, self.origin, self._known_sources)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a packed folder without reading examples; raise `DataError` if it is invalid or incomplete."""
        manifest = _read_manifest(folder)
        shape = tuple(manifest["shape"])
        class_names = tuple(manifest["class_names"])
        examples = _open_array(folder / "examples.npy", shape, manifest["dtype"])
        labels = _open_array(folder / "labels.npy", shape[:1], "int64") if class_names else None
        if labels is not None and (labels.min() < 0 or labels.max() >= len(class_names)):
            where = printable(str(folder / "labels.npy"))
            raise DataError(
                f"{where} ranges from {labels.min()} to {labels.max()}, with {len(class_names)} classes", _AGAIN
            )
        sources = None
        if "sources" in manifest:
            beside = folder / SOURCES
            if "sources" in _read_manifest(beside):
                raise DataError(f"{printable(str(beside))} has sources itself", _AGAIN)
            sources = cls.load(beside)
            fits = sources.fingerprint == manifest["sources"] and len(sources) == len(examples)
            if not (fits and sources.spec.is_image and examples.ndim == 4 and not class_names):
                raise DataError(f"{printable(str(beside))} does not match its folder", _AGAIN)
        file = None
        if examples.nbytes > MAPPED_BYTES and examples.flags.c_contiguous:
            file = RowFile(folder / "examples.npy", examples.offset, examples[0].nbytes)
        return cls(
            name=manifest["name"],
            examples=torch.from_numpy(examples),
            labels=None if labels is None else torch.from_numpy(labels),
            class_names=class_names,
            fingerprint=manifest["fingerprint"],
            origin=manifest["origin"],
            file=file,
            sources=sources,
        )


def fingerprint(
    digest: str,
    shape: Sequence[int],
    dtype: str,
    labels: NDArray[Any] | None,
    class_names: Sequence[str],
    sources: str | None = None,
) -> str:
    """Return the SHA-256 of data in hexadecimal; `digest` is that of the examples, `sources` that of source images."""
    content = {
        "examples": digest,
        "shape": list(shape),
        "dtype": dtype,
        "labels": None if labels is None else hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
        "class_names": list(class_names),
        **({} if sources is None else {"sources": sources}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(
    folder: Path,
    name: str,
    examples: ArrayWriter,
    labels: NDArray[Any] | None,
    class_names: Sequence[str],
    origin: Mapping[str, Any],
    sources: str | None = None,
) -> str:
    """Write labels and manifest beside written examples and sources, and return the fingerprint."""
    if labels is not None:
        with ArrayWriter(labels.shape, np.int64, folder / "labels.npy") as writer:
            writer.append(labels)
    found = fingerprint(examples.digest, examples.shape, examples.dtype.name, labels, class_names, sources)
    manifest = {
        "format": FORMAT,
        "name": name,
        "shape": examples.shape,
        "dtype": examples.dtype.name,
        "class_names": list(class_names),
        "fingerprint": found,
        "origin": dict(origin),
        **({} if sources is None else {"sources": sources}),
    }
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return found


def is_packed(folder: Path) -> bool:
    """Return whether a folder is a packed folder; other programs write a ``manifest.json`` too."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return False
    if (folder / "examples.npy").exists():
        return True
    with open_regular(manifest) as file:
        return b"ganforge-data-" in file.read(_MANIFEST_BYTES)


_AGAIN = "pack the data again"


class _Origin(TypedDict, total=False):
    left_out: dict[str, Any]


class _Manifest(TypedDict):
    """Required fields of a manifest."""

    name: str
    shape: list[PositiveInt]
    dtype: Literal["uint8", "float32"]
    class_names: list[str]
    fingerprint: str
    origin: _Origin
    sources: NotRequired[str]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    where = printable(str(path))
    try:
        with open_regular(path) as file:
            content = file.read(_MANIFEST_BYTES + 1)
        if len(content) > _MANIFEST_BYTES:
            raise ValueError(f"larger than {_MANIFEST_BYTES >> 20} MiB")
        manifest = parse_json(content)
    except FileNotFoundError:
        raise DataError(
            f"{printable(str(folder))} is not a packed folder: it has no manifest.json",
            "give a folder from `ganforge data pack`",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: {reason_of(error)}", _AGAIN) from None
    written = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(written, str) or not written.startswith("ganforge-data-"):
        raise DataError(f"{where} was not written by ganforge", "give a folder from `ganforge data pack`")
    if written != FORMAT:
        raise DataError(f"{where} has format {printable(written[:40])}; this version reads {FORMAT}", _AGAIN)
    try:
        convert(manifest, _Manifest)
    except ValueError as error:
        raise DataError(f"{where}: {error}", _AGAIN) from None
    shape, dtype = manifest["shape"], manifest["dtype"]
    images = dtype == "uint8" and len(shape) == 4 and shape[1] in (1, 3, 4)
    if not (images or (dtype == "float32" and len(shape) == 2)):
        raise DataError(f"{where}: its shape and dtype are neither of images nor of vectors", _AGAIN)
    return {**manifest, "name": printable(manifest["name"])}


def _open_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, np.dtype[Any]]:
    where = printable(str(path))
    try:
        array = map_array(path, "c")  # torch warns about read-only memory
    except FileNotFoundError:
        raise DataError(f"{printable(str(path.parent))} is incomplete: it has no {path.name}", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{where} is damaged or truncated: {reason_of(error)}", _AGAIN) from None
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise DataError(f"{where} does not match its manifest, which declares {dtype} {list(shape)}", _AGAIN)
    return array


def _chunks(examples: Tensor) -> Iterator[NDArray[Any]]:
    rows = max(1, _CHUNK_BYTES // max(1, examples[0].numel()))
    for start in range(0, len(examples), rows):
        yield examples[start : start + rows].numpy()
