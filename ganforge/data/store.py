"""Packed data: all examples in one array, in memory or memory-mapped from a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError
from ganforge.core.images import to_float, to_uint8
from ganforge.data.labels import LabelTable, describe_numbers
from ganforge.data.manifest import AGAIN, FORMAT, read_manifest
from ganforge.data.npy import MAPPED_BYTES, RowFile, map_array
from ganforge.data.text import printable, reason_of
from ganforge.data.writing import ArrayWriter, new_folder

SOURCES = "sources"  # subfolder of a packed folder with the source images, itself a packed folder

_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class PackedData:
    """Packed examples with labels, before conversion to float.

    Attributes:
        name: Short name, e.g. ``mnist-train``.
        examples: Images ``[N, C, H, W]``: uint8, uint16, or float32 in [-1, 1]; signals, float32 ``[N, C, T]`` in
            [-1, 1]; or vectors, float32 ``[N, D]``. May be memory-mapped copy-on-write.
        labels: Class labels, int64 ``[N]`` in ``[0, len(class_names))``; condition vectors, float32 ``[N, K]``; None
            for unlabeled data.
        class_names: Class names in the order of the labels; empty without classes.
        fingerprint: SHA-256 of examples, labels, class names and sources.
        origin: Source, options, crop, resize filter, and skipped examples.
        note: Message for the user, e.g. why nothing was cached; usually empty.
        file: File that `gather` reads if it is large; None to read `examples`.
        sources: Source images, in the same order if `is_paired`; None without sources.
        number_names: Names of the K numbers of a condition vector; empty without vectors.
        is_paired: Whether source n belongs to example n; else both are drawn independently.
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
    number_names: tuple[str, ...] = ()
    is_paired: bool = True

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def spec(self) -> DataSpec:
        """Shapes and labels for the networks."""
        source_shape = () if self.sources is None else self.sources.spec.shape
        values = self.label_table.values
        numbers = describe_numbers(self.number_names, values) if self.number_names and values is not None else ()
        return DataSpec(tuple(self.examples.shape[1:]), self.class_names, source_shape, numbers)

    @property
    def label_table(self) -> LabelTable:
        """Labels with their names, as arrays."""
        values = None if self.labels is None else self.labels.numpy()
        return LabelTable(values, self.class_names, self.number_names)

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

    def read_pixels(self, indices: Tensor) -> Tensor:
        """Return images uint8 ``[n, C, H, W]`` of indices int64 ``[n]``; other types are rounded to 8 bits."""
        images = torch.empty(len(indices), *self.examples.shape[1:], dtype=self.examples.dtype)
        self.gather(indices, images)
        return images if images.dtype == torch.uint8 else to_uint8(to_float(images))

    def is_intact(self) -> bool:
        """Return whether the examples match the fingerprint; reads all of them."""
        if self.sources is not None and not self.sources.is_intact():
            return False
        digest = hashlib.sha256()
        for rows in _chunks(self.examples):
            digest.update(np.ascontiguousarray(rows).data)
        examples = self.examples.numpy()
        found = fingerprint(
            digest.hexdigest(), examples.shape, examples.dtype.name, self.label_table, self._known_sources
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
            write_manifest(partial, self.name, writer, self.label_table, self.origin, self._known_sources)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a packed folder without reading examples; raise `DataError` if it is invalid or incomplete."""
        manifest = read_manifest(folder)
        shape = tuple(manifest["shape"])
        class_names = tuple(manifest["class_names"])
        number_names = tuple(manifest.get("number_names", ()))
        examples = _open_array(folder / "examples.npy", shape, manifest["dtype"])
        labels = _open_labels(folder, shape[0], class_names, number_names)
        sources = None
        if "sources" in manifest:
            beside = folder / SOURCES
            if "sources" in read_manifest(beside):
                raise DataError(f"{printable(str(beside))} has sources itself", AGAIN)
            sources = cls.load(beside)
            fits = sources.fingerprint == manifest["sources"] and len(sources) == len(examples)
            if not (fits and sources.spec.is_image and examples.ndim == 4 and labels is None):
                raise DataError(f"{printable(str(beside))} does not match its folder", AGAIN)
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
            number_names=number_names,
        )


def fingerprint(digest: str, shape: Sequence[int], dtype: str, labels: LabelTable, sources: str | None = None) -> str:
    """Return the SHA-256 of data in hexadecimal; `digest` is that of the examples, `sources` that of source images."""
    content = {
        "examples": digest,
        "shape": list(shape),
        "dtype": dtype,
        "labels": labels.digest,
        **labels.fields,
        **({} if sources is None else {"sources": sources}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(
    folder: Path,
    name: str,
    examples: ArrayWriter,
    labels: LabelTable,
    origin: Mapping[str, Any],
    sources: str | None = None,
) -> str:
    """Write labels and manifest beside written examples and sources, and return the fingerprint."""
    if labels.values is not None:
        with ArrayWriter(labels.values.shape, labels.values.dtype, folder / "labels.npy") as writer:
            writer.append(labels.values)
    found = fingerprint(examples.digest, examples.shape, examples.dtype.name, labels, sources)
    manifest = {
        "format": FORMAT,
        "name": name,
        "shape": examples.shape,
        "dtype": examples.dtype.name,
        **labels.fields,
        "fingerprint": found,
        "origin": dict(origin),
        **({} if sources is None else {"sources": sources}),
    }
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return found


def _open_labels(
    folder: Path, count: int, class_names: tuple[str, ...], number_names: tuple[str, ...]
) -> NDArray[Any] | None:
    path = folder / "labels.npy"
    where = printable(str(path))
    if class_names and number_names:
        raise DataError(f"{printable(str(folder))} has both classes and condition vectors", AGAIN)
    if number_names:
        vectors = _open_array(path, (count, len(number_names)), "float32")
        if not np.isfinite(vectors).all():
            raise DataError(f"{where} holds non-finite values", AGAIN)
        return vectors
    if not class_names:
        return None
    labels = _open_array(path, (count,), "int64")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise DataError(f"{where} ranges from {labels.min()} to {labels.max()}, with {len(class_names)} classes", AGAIN)
    return labels


def _open_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, np.dtype[Any]]:
    where = printable(str(path))
    try:
        array = map_array(path, "c")  # torch warns about read-only memory
    except FileNotFoundError:
        raise DataError(f"{printable(str(path.parent))} is incomplete: it has no {path.name}", AGAIN) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{where} is damaged or truncated: {reason_of(error)}", AGAIN) from None
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise DataError(f"{where} does not match its manifest, which declares {dtype} {list(shape)}", AGAIN)
    return array


def _chunks(examples: Tensor) -> Iterator[NDArray[Any]]:
    rows = max(1, _CHUNK_BYTES // max(1, examples[0].numel()))
    for start in range(0, len(examples), rows):
        yield examples[start : start + rows].numpy()
